"""That one version and one address stand in every file that names them. Cargo.toml is where they are changed."""
import datetime
import re
import sys

from tools import ROOT, run

# Files that speak of other versions, or of other people's repositories that are called like this one.
HISTORY = ("CHANGELOG.md", "deploy/adr/", "deploy/releasing/")
# What only a page of a project without a release says.
UNPUBLISHED = re.compile(r"THIS-REPOSITORY|\bnot released\b|nothing is (?:published|released)|is not served yet", re.I)


def workspace(text):
    """The table [workspace.package] of Cargo.toml."""
    table = re.search(r"(?ms)^\[workspace\.package\]\n(.*?)(?:^\[|\Z)", text)
    return dict(re.findall(r'(?m)^([\w-]+) = "(.*)"$', table[1])) if table else {}


def tracked():
    """Every text of the repository by its path, as it is on the disk."""
    code, out, err = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    # An archive of the sources has no history.
    names = out.split("\0") if code == 0 else [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if not {".git", "target"} & set(path.parts)]
    found = {}
    for name in filter(None, names):
        path = ROOT / name
        try:
            found[name] = path.read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return found


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def one(files, name, pattern, wanted):
    """What a file says in one place, compared."""
    found = re.search(pattern, files.get(name, ""), re.M)
    if not found:
        return [f"{name}: nothing matches {pattern}, which should say {wanted}"]
    where = f"{name}:{line_of(files[name], found.start(1))}"
    return [] if found[1] == wanted else [f"{where}: says {found[1]}, Cargo.toml says {wanted}"]


def everywhere(files, pattern, wanted):
    """What all files say that say it, compared."""
    wrong = []
    for name, text in files.items():
        if not name.startswith(HISTORY):
            found = [at for at in re.finditer(pattern, text) if at[1] != wanted]
            wrong += [f"{name}:{line_of(text, at.start())}: says {at[1]}, Cargo.toml says {wanted}" for at in found]
    return wrong


def sections(changelog):
    """The headings of CHANGELOG.md: version, and the date or `not released`."""
    return re.findall(r"(?m)^## (\S+) \((.+)\)$", changelog)


def versions(files, version):
    chart, base = "deploy/helm/ephemon/Chart.yaml", "deploy/kustomize/base/kustomization.yaml"
    wrong = one(files, chart, r"^version: (.+)$", version) + one(files, chart, r"^appVersion: (.+)$", version)
    wrong += one(files, base, r"^    newTag: (.+)$", version)
    wrong += one(files, "tests/it/golden/otlp-metrics.txt", r"service\.version=([^,}]+)", version)
    for name, found in re.findall(r'(?m)^name = "(ephemon[\w-]*)"\nversion = "(.+)"$', files.get("Cargo.lock", "")):
        if found != version and name != "ephemon-fuzz":
            wrong.append(f"Cargo.lock: {name} is {found}, Cargo.toml says {version}: cargo metadata --offline > /dev/null mends it")
    krew = "deploy/krew/ephemon.yaml"
    wrong += one(files, krew, r"^  version: v(.+)$", version)
    wrong += everywhere(files, r"/releases/download/v([\w.+-]+)/ephemon-", version) + everywhere(files, r"/releases/download/\S+/ephemon-(\d+\.\d+\.\d+[\w.+]*)-a", version)
    wrong += everywhere(files, r"\bephemon:(\d+\.\d+\.\d+[\w.+-]*)", version)
    wrong += everywhere(files, r"\bnewName: \S+?/ephemon, newTag: (\d[\w.+-]*)", version)
    known = sections(files.get("CHANGELOG.md", ""))
    if not known or known[0][0] != version:
        wrong.append(f"CHANGELOG.md: its first section is not of {version}, but of {known[0][0] if known else 'nothing'}: ## {version} (not released)")
    return wrong


def addresses(files, package):
    repository, home = package.get("repository", ""), package.get("homepage", "")
    place = re.fullmatch(r"https://github\.com/([a-z\d](?:[a-z\d-]*[a-z\d])?)/ephemon", repository)
    if not place:
        return [f"Cargo.toml: repository must be https://github.com/OWNER/ephemon: {repository or 'it is not there'}"]
    chart = "deploy/helm/ephemon/Chart.yaml"
    wrong = one(files, chart, r"^home: (.+)$", home) + one(files, chart, r"^sources:\n  - (.+)$", repository)
    wrong += one(files, "deploy/Dockerfile", r'image\.source="(.+)"', repository)
    wrong += one(files, "SECURITY.md", r"certificate-identity (\S+)/\.github/workflows/release\.yml@", repository)
    wrong += everywhere(files, r"github\.com/([\w-]+)/ephemon\b(?!-)", place[1]) + everywhere(files, r"ghcr\.io/([\w-]+)/(?:charts/)?ephemon\b", place[1])
    manifests = {name: text for name, text in files.items() if re.fullmatch(r"src/[\w-]+/Cargo\.toml", name)}
    for name, text in manifests.items():
        for key in ("version", "license", "repository", "homepage"):
            if f"{key}.workspace = true" not in text:
                wrong.append(f"{name}: must have {key}.workspace = true")
        if not re.search(r'(?m)^description = ".+"$', text):
            wrong.append(f"{name}: has no description")
    return wrong


def release(files, package, tag, repository):
    """What must hold of a release, and of nothing before it."""
    wrong = []
    version = package["version"]
    if tag != f"v{version}":
        wrong.append(f"the tag is {tag}, Cargo.toml says {version}")
    if repository and package.get("repository", "").lower() != f"https://github.com/{repository}".lower():
        wrong.append(f"this is {repository}, and Cargo.toml says {package.get('repository')}: a fork that releases sets it first")
    first, date = (sections(files.get("CHANGELOG.md", "")) or [("", "")])[0]
    try:
        datetime.date.fromisoformat(date)
    except ValueError:
        wrong.append(f"CHANGELOG.md: {first} has no date: ## {version} (2026-01-31)")
    for name, text in files.items():
        if name.endswith((".md", ".gotmpl")) and not name.startswith(HISTORY) and name != "CONTRIBUTING.md":
            for found in UNPUBLISHED.finditer(text):
                wrong.append(f"{name}:{line_of(text, found.start())}: says “{found[0]}”, and this is a release")
    return wrong


def check(files, tag=None, repository=None):
    """What does not agree, a line each."""
    package = workspace(files.get("Cargo.toml", ""))
    version = package.get("version", "")
    if not re.fullmatch(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?", version):
        return [f"Cargo.toml: the version is not semantic: {version or 'it is not there'}"]
    wrong = versions(files, version) + addresses(files, package)
    if tag:
        return wrong + release(files, package, tag, repository)
    if not any(date != "not released" for _, date in sections(files.get("CHANGELOG.md", ""))) and "Not released" not in files.get("README.md", ""):
        wrong.append("README.md: no version is released, and its status does not say “Not released”")
    return wrong


def version():
    return workspace((ROOT / "Cargo.toml").read_text())["version"]


def notes(files):
    """What CHANGELOG.md says of the version."""
    text = files["CHANGELOG.md"]
    found = re.search(rf"(?ms)^## {re.escape(version())} \(.*?\)$\n(.*?)(?=^## |\Z)", text)
    if not found or not found[1].strip():
        sys.exit(f"CHANGELOG.md has nothing of {version()}")
    return found[1].strip() + "\n"
