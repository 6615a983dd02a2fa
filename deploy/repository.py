"""The habits of the repository: forms and settings that GitHub and Renovate read, and that everything that is fetched
is pinned and found by the updates. deploy/check calls it."""
import json
import re
import sys

import tools
from tools import ROOT, run

# The files by the schema that SchemaStore has of them.
SCHEMAS = {
    "vendor.github-issue-config": [".github/ISSUE_TEMPLATE/config.yml"],
    "vendor.github-issue-forms": [".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/feature.yml"],
    "vendor.github-workflows": [".github/workflows/ci.yml", ".github/workflows/release.yml", ".github/workflows/scorecard.yml"],
    "vendor.renovate": [".github/renovate.json"],
}
# Line length and the space of comments are no matter of right and wrong; `on` and `{ a: b }` are as GitHub and Kubernetes write them.
YAMLLINT = {
    "extends": "default",
    "rules": {name: "disable" for name in ("line-length", "document-start", "comments", "comments-indentation", "indentation", "commas")}
    | {"truthy": {"check-keys": False}, "braces": {"max-spaces-inside": 1}},
}
# A version that a script holds in a variable.
PINS = re.compile(r"\b[A-Z][A-Z_]*=(v?\d+\.\d+[\w.-]*)")


def schemas():
    wrong = []
    for schema, paths in SCHEMAS.items():
        code, out, err = run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *paths, env=tools.importable("check-jsonschema"))
        if code != 0:
            wrong.append((out + err).strip())
    known = {path for paths in SCHEMAS.values() for path in paths}
    for folder in ("ISSUE_TEMPLATE", "workflows"):
        wrong += [f"{path}: deploy/repository.py has no schema for it" for path in sorted(str(path.relative_to(ROOT)) for path in (ROOT / ".github" / folder).iterdir()) if path not in known]
    return wrong


def yaml_lint():
    """Every YAML file that is no template of Helm's and no copy."""
    code, out, err = run("git", "ls-files", "*.yaml", "*.yml")
    paths = [path for path in out.split() if not path.startswith(("deploy/helm/ephemon/templates/", "deploy/helm/ephemon/files/", "tests/"))]
    code, out, err = run(sys.executable, "-m", "yamllint", "--strict", "-f", "parsable", "-d", json.dumps(YAMLLINT), *paths, env=tools.importable("yamllint"))
    return (out + err).strip().splitlines()


def workflow(name, text):
    """What GitHub runs: actions by their commits, no rights that are not asked for, images by their digests."""
    wrong = []
    if not re.search(r"(?m)^permissions: \{\}$", text):
        wrong.append(f"{name}: the workflow must have `permissions: {{}}`, and each job what it needs")
    jobs = re.split(r"(?m)^  (?=[\w-]+:$)", text.partition("\njobs:\n")[2])
    for job in filter(str.strip, jobs):
        if "\n    permissions:\n" not in job or "timeout-minutes:" not in job:
            wrong.append(f"{name}: the job {job.partition(':')[0]} must have permissions and timeout-minutes")
    for found in re.finditer(r"uses: (\S+)(.*)", text):
        if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", found[1]) or not re.fullmatch(r" # v\d[\w.]*", found[2]):
            wrong.append(f"{name}: {found[1]} must be a commit, with its version as a comment")
        if found[1].startswith("actions/checkout@") and not text[found.end() :].startswith("\n        with:\n          persist-credentials: false\n"):
            wrong.append(f"{name}: checkout must have persist-credentials: false")
    return wrong + [f"{name}: the image {image} has no digest" for image in re.findall(r"(?m)^ +image: (\S+)$", text) if "@sha256:" not in image]


def dockerfile(name, text):
    stages = set(re.findall(r"(?m)^FROM .* AS (\S+)$", text)) | {"scratch"}
    return [f"{name}: {image} has no digest" for image in re.findall(r"(?m)^FROM (\S+)", text) if image not in stages and "@sha256:" not in image]


def found_by(config, name, text):
    """What Renovate's patterns find in a file: package or template, and value."""
    found = set()
    for manager in config["customManagers"]:
        if name in manager["managerFilePatterns"]:
            for pattern in manager["matchStrings"]:
                for one in re.finditer(pattern.replace("(?<", "(?P<"), text):
                    groups = one.groupdict()
                    found.add((groups.get("packageName") or manager["packageNameTemplate"], groups["currentValue"]))
    return found


def updates(config, read):
    """Each pinned version that no update would find, and each pattern that finds nothing."""
    # The presets leave out tests/, which has pins, too.
    wrong = [] if config.get("ignorePaths") == [] else [".github/renovate.json: ignorePaths must be []"]
    managers = config["customManagers"]
    for manager in managers:
        for name in manager["managerFilePatterns"]:
            if not found_by({"customManagers": [manager]}, name, read(name)):
                wrong.append(f".github/renovate.json: “{manager['description']}” finds nothing in {name}")
    seen = {value for name in {name for manager in managers for name in manager["managerFilePatterns"]} for value in found_by(config, name, read(name))}
    values = {value for _, value in seen}
    wanted = [("deploy/tools.py", text.partition("@")[2]) for text in tools.GO.values()]
    wanted += [("deploy/tools.py", "==" + text.partition("==")[2]) for text in tools.PIP.values()]
    wanted += [("deploy/tools.py", version) for version in tools.CARGO.values()]
    wanted += [(name, value) for name in (".ci/run", "tests/node/parts") for value in PINS.findall(read(name))]
    wanted += [(".github/workflows/release.yml", value) for value in re.findall(r"go install \S+@(\S+)", read(".github/workflows/release.yml"))]
    wanted += [("dashboards/check", value) for value in re.findall(r'"@?[\w/-]+@([\d.]+)"', read("dashboards/check"))]
    # A state of a repository without versions has no newer one.
    wrong += [f"{name}: no pattern of .github/renovate.json finds the version {value}" for name, value in wanted if value not in values and not value.startswith("v0.0.0-")]
    return wrong


def check():
    """What is wrong, a line each."""
    read = lambda name: (ROOT / name).read_text()
    wrong = schemas() + yaml_lint() + updates(json.loads(read(".github/renovate.json")), read)
    for path in sorted((ROOT / ".github/workflows").iterdir()):
        wrong += workflow(path.name, path.read_text())
    wrong += dockerfile("deploy/Dockerfile", read("deploy/Dockerfile"))
    for name in ("SECURITY.md", "CONTRIBUTING.md", "LICENSE", ".github/CODEOWNERS", ".github/PULL_REQUEST_TEMPLATE.md"):
        if not (ROOT / name).is_file():
            wrong.append(f"{name} is missing")
    return wrong + itself()


def itself():
    """A check that refuses nothing checks nothing."""
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    config = json.loads((ROOT / ".github/renovate.json").read_text())
    read = lambda name: (ROOT / name).read_text()
    broken = {
        "an action by its tag": workflow("x", re.sub(r"checkout@[0-9a-f]{40}", "checkout@v5", text)),
        "an action without its version": workflow("x", text.replace(" # v5.0.0", "")),
        "a workflow with the usual rights": workflow("x", text.replace("permissions: {}", "")),
        "a job with the usual rights": workflow("x", text.replace("    permissions:\n      contents: read\n", "", 1)),
        "a checkout that leaves its token": workflow("x", text.replace("persist-credentials: false", "persist-credentials: true")),
        "a workflow's image by its tag": workflow("x", re.sub(r"@sha256:[0-9a-f]{64}", "", text)),
        "a stage's image by its tag": dockerfile("x", "FROM rust:1 AS build\nFROM scratch\n"),
        "a version that no update finds": updates(config, lambda name: read(name) + ("readonly NEW=1.2.3\n" if name == ".ci/run" else "")),
        "a configuration that leaves out tests": updates({name: value for name, value in config.items() if name != "ignorePaths"}, read),
        "a pattern that finds nothing": updates(config, lambda name: "" if name == "dashboards/check" else read(name)),
    }
    return [f"deploy/repository.py: does not see {what}" for what, wrong in broken.items() if not wrong]
