"""Chart and manifests of a release: as in this repository, with the image's published name and digest."""
import os
import pathlib
import re
import shutil
import sys
import tarfile
import tempfile

from tools import ROOT, run, tool

from releasing import oci, versions

# Their paths are kept: kustomizations name each other by them.
MANIFESTS = ("deploy/kustomize", "deploy/hook", "dashboards")
# The runner is its user's own, and GitHub soon refuses to serve an old one. Our values only show where it goes.
FOREIGN = "ghcr.io/actions/actions-runner:latest"
REFERENCE = re.compile(r"([a-z\d.-]+(?::\d+)?)/([a-z\d./_-]+)@(sha256:[0-9a-f]{64})")


class Image:
    """A published image, by its digest."""

    def __init__(self, text):
        found = REFERENCE.fullmatch(text)
        if not found or not ("." in found[1] or ":" in found[1] or found[1] == "localhost"):
            sys.exit(f"an image of a release is REGISTRY/NAME@sha256:DIGEST, with 64 hexadecimal digits: {text}")
        self.registry, self.path, self.digest = found.groups()
        self.name = f"{self.registry}/{self.path}"

    def __str__(self):
        return f"{self.name}@{self.digest}"


def replaced(path, *pairs):
    """Replaces each text, which the file must have."""
    text = path.read_text()
    for old, new in pairs:
        if old not in text:
            sys.exit(f"{path.name} no longer has {old!r}: deploy/releasing/pinned.py must follow it")
        text = text.replace(old, new)
    path.write_text(text)


def documents():
    """Where the documents of this version are published, which no archive has."""
    return f"{versions.workspace((ROOT / 'Cargo.toml').read_text())['repository']}/blob/v{versions.version()}/deploy/docs/"


def chart(image, charts, folder):
    """A copy of the chart whose defaults are the image, and whose README installs it from where it is published."""
    shutil.copytree(ROOT / "deploy/helm/ephemon", folder)
    number = versions.version()
    values = folder / "values.yaml"
    text = values.read_text()
    block = re.search(r"(?ms)^image:\n.*?(?=^\S)", text)
    new = block[0] if block else ""
    for name, old, value in (("registry", '""', image.registry), ("repository", "ephemon", image.path), ("digest", '""', image.digest)):
        if f"\n  {name}: {old}\n" not in new:
            sys.exit(f"values.yaml no longer has image.{name}: {old}: deploy/releasing/pinned.py must follow it")
        new = new.replace(f"\n  {name}: {old}\n", f"\n  {name}: {value}\n")
    values.write_text(text.replace(block[0], new).replace("Repository of the image: yours. The chart of a release has the published one", "Repository of the image"))
    replaced(folder / "Chart.yaml", (f"      image: ephemon:{number}\n", f"      image: {image.name}:{number}@{image.digest}\n"))
    replaced(
        folder / "README.md.gotmpl",
        ("deploy/helm/ephemon", f"oci://{charts}/ephemon --version {number}"),
        (" --set image.repository=REGISTRY/ephemon", ""),
        ("](../../docs/", f"]({documents()}"),
    )
    code, out, err = run(tool("helm-docs"), "--chart-search-root", str(folder), "--sort-values-order", "file", "--log-level", "warning")
    if code != 0:
        sys.exit(f"helm-docs: {out}{err}")


def manifests(image, folder):
    """Copies of the kustomizations and of the hook's files, which name the image."""
    made_by = shutil.ignore_patterns("pictures", "boards", "__pycache__", "*.py", "check", "draw", "generate")
    for name in MANIFESTS:
        shutil.copytree(ROOT / name, folder / name, ignore=made_by)
    replaced(folder / "deploy/hook/README.md", ("](../docs/", f"]({documents()}"))
    number = versions.version()
    replaced(
        folder / "deploy/kustomize/base/kustomization.yaml",
        (f"    newTag: {number}\n", f"    newName: {image.name}\n    digest: {image.digest}\n"),
        (f"{{ name: ephemon, newName: REGISTRY/ephemon, newTag: {number} }}", f"{{ name: {image.name}, newName: REGISTRY/ephemon }}"),
        ("# Name your image in a kustomization of your own:", "# For a copy of the image, in a kustomization of your own:"),
    )
    for path in (folder / "deploy/hook").glob("values*.yaml"):
        if "EPHEMON-IMAGE" in path.read_text():
            replaced(path, ("EPHEMON-IMAGE", f"{image.name}:{number}@{image.digest}"))
    shutil.copy(ROOT / "LICENSE", folder)


def dated(folder, when):
    """Gives everything one time, so that archives of it are the same each time."""
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (when, when))


def package(image, charts, target):
    """Writes the chart and the manifests as archives into a folder; returns their paths."""
    when, number = oci.epoch(), versions.version()
    target = pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        chart(image, charts, scratch / "ephemon")
        dated(scratch / "ephemon", when)
        code, out, err = run(tool("helm"), "package", str(scratch / "ephemon"), "--destination", str(target))
        if code != 0:
            sys.exit(f"helm package: {out}{err}")
        home = scratch / f"ephemon-manifests-{number}"
        manifests(image, home)
        members = {f"{home.name}/{name}": path for name, path in oci.below(home).items()}
        archive = target / f"{home.name}.tar.gz"
        archive.write_bytes(oci.zipped(oci.packed(members | {home.name: home}, when), when))
    return archives(target)


def archives(folder):
    """The chart and the manifests."""
    number = versions.version()
    return [pathlib.Path(folder) / name for name in (f"ephemon-{number}.tgz", f"ephemon-manifests-{number}.tar.gz")]


def extract(path, folder):
    with tarfile.open(path) as archive:
        # Debian 12's Python has no filters yet.
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))


def images(value):
    """Every reference to an image in an object: of containers, and of volumes that are images."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key in ("image", "reference") and isinstance(one, str):
                yield one
            elif key == "image" and isinstance(one, dict) and "reference" in one:
                yield one["reference"]
            else:
                yield from images(one)
    elif isinstance(value, list):
        for one in value:
            yield from images(one)


def unpinned(where, documents, image, own=()):
    """References that a registry can point elsewhere, and images of ephemon that are others."""
    wrong = []
    for reference in (one for document in documents for one in images(document)):
        digest = re.search(r"@sha256:[0-9a-f]{64}$", reference)
        name = re.sub(r":[^/:]+$", "", reference.partition("@")[0])
        if reference in own or reference == FOREIGN and where.startswith("deploy/hook/"):
            continue
        if not digest:
            wrong.append(f"{where}: {reference} has no digest")
        elif name.endswith("/ephemon") and (name, digest[0][1:]) != (image.name, image.digest):
            wrong.append(f"{where}: {reference} is not {image}")
    return wrong


def defaults(values):
    """A value set of ci/ without the images that it sets in the place of the chart's own."""
    kept = {name: one for name, one in values.items() if name != "image"}
    if "global" in kept:
        kept["global"] = {other: one for other, one in kept["global"].items() if other != "imageRegistry"}
    return kept


def dead_links(folder):
    """Links of pages to files that are not packed with them."""
    for page in sorted(folder.rglob("*.md")):
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in link and not (page.parent / link).exists():
                yield f"{page.relative_to(folder)}: {link} is not packed"


def verify(image, target):
    """Renders all that the two archives can render; returns what is wrong, and the number of renderings."""
    import yaml

    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for path in archives(target):
            extract(path, scratch)
        packed = scratch / f"ephemon-manifests-{versions.version()}"
        wrong += [*dead_links(packed), *dead_links(scratch / "ephemon")]
        found = {path.relative_to(packed): (path.read_text(), ()) for path in (packed / "deploy/hook").glob("values*.yaml")}
        commands = {}
        # The package leaves them out.
        for known in sorted((ROOT / "deploy/helm/ephemon/ci").glob("*.yaml")):
            path, values = scratch / known.name, defaults(yaml.safe_load(known.read_text()) or {})
            path.write_text(yaml.safe_dump(values))
            template = ("template", "ephemon", str(scratch / "ephemon"), "--namespace", "ephemon", "--kube-version", "1.36.0", "-f", str(path))
            commands[f"chart with {path.stem}"] = (tool("helm"), *template), set(images(values))
        for path in sorted(path.parent for path in packed.rglob("kustomization.yaml") if "kind: Component" not in path.read_text()):
            commands[path.relative_to(packed)] = (tool("kustomize"), "build", str(path)), ()
        for where, (command, own) in commands.items():
            code, out, err = run(*command)
            found[where] = out, own
            if code != 0:
                wrong.append(f"{where}: {err.strip()}")
    for where, (text, own) in found.items():
        wrong += unpinned(str(where), [one for one in yaml.safe_load_all(text) if one], image, own)
    return wrong, len(found)
