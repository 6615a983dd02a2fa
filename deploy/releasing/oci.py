"""An image as an archive in the OCI image layout, written without Docker, a daemon or a registry.

Its configuration is what the last stage of deploy/Dockerfile says. The same files give the same bytes: members
are sorted and root's, and all times are SOURCE_DATE_EPOCH.
"""
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import shlex
import stat
import sys
import tarfile
import time

PROGRAMS = ("ephemon", "ephemon-hook", "ephemon-init")
# e_machine of ELF, by the name that images have for the architecture.
MACHINES = {"amd64": 62, "arm64": 183}
PT_INTERP = 3
# What Docker and Buildah set where a stage begins with nothing.
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def epoch():
    """The seconds of every time in what is written, by https://reproducible-builds.org/specs/source-date-epoch."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not text.isdigit():
        sys.exit(f"SOURCE_DATE_EPOCH must be seconds since 1970, such as $(git log -1 --format=%ct): {text}")
    return int(text)


def configuration(dockerfile, arguments):
    """What the last stage sets, in the words of the image specification. An instruction that is not known here is
    an error: the image would not be the same as Docker's."""
    found = {"Env": [PATH]}
    text = re.sub(r"(?m)^\s*#.*\n", "", dockerfile).replace("\\\n", " ")
    for line in text[text.rindex("\nFROM scratch") :].splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "USER":
            found["User"] = rest
        elif word == "ENTRYPOINT":
            found["Entrypoint"] = json.loads(rest)
        elif word in ("ENV", "LABEL"):
            pairs = [pair.partition("=") for pair in shlex.split(rest)]
            known = {name: re.sub(r"\$\{(\w+)\}", lambda one: arguments.get(one[1], ""), value) for name, _, value in pairs}
            if word == "ENV":
                # As Docker does: a name that is there already gets the new value in its place.
                env = dict(pair.split("=", 1) for pair in found["Env"]) | known
                found["Env"] = [f"{name}={value}" for name, value in env.items()]
            else:
                found.setdefault("Labels", {}).update(known)
        elif word not in ("", "FROM", "ARG") and line.strip() != "COPY --from=build /image/ /":
            sys.exit(f"deploy/Dockerfile has {word}, which deploy/releasing/oci.py does not know")
    return found


def architecture(folder):
    """The processor that a folder's programs are for. They must be there, static, and for one processor."""
    found = {}
    for name in PROGRAMS:
        path = folder / name
        if not path.is_file():
            sys.exit(f"{path} is missing: deploy/programs {folder} builds it")
        head = path.read_bytes()
        if head[:6] != b"\x7fELF\x02\x01":
            sys.exit(f"{path} is no program: it must be ELF of 64 bits, little-endian")
        number = lambda at, size: int.from_bytes(head[at : at + size], "little")
        offset, size, count = number(32, 8), number(54, 2), number(56, 2)
        if any(number(offset + at * size, 4) == PT_INTERP for at in range(count)):
            sys.exit(f"{path} is not static: nothing in the image could load it")
        found[name] = next((known for known, machine in MACHINES.items() if machine == number(18, 2)), "unknown")
    if len(set(found.values())) != 1 or "unknown" in found.values():
        sys.exit(f"{folder} must have programs for one of {', '.join(MACHINES)}: {found}")
    return found[PROGRAMS[0]]


def packed(members, when):
    """A tar of `{name: path or bytes}`, root's and sorted; directories come before what is in them."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(members.items()):
            one = tarfile.TarInfo(name)
            one.mtime = when
            if isinstance(content, pathlib.Path) and content.is_dir():
                one.type, one.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(one)
                continue
            executable = isinstance(content, pathlib.Path) and content.stat().st_mode & stat.S_IXUSR
            data = content.read_bytes() if isinstance(content, pathlib.Path) else content
            one.mode, one.size = 0o755 if executable else 0o644, len(data)
            archive.addfile(one, io.BytesIO(data))
    return made.getvalue()


def below(folder):
    """Every file and directory of a folder, by its path in it."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
    for name, path in found.items():
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            sys.exit(f"{folder / name} is neither a file nor a directory: it does not belong into the image")
    return found


def zipped(data, when):
    made = io.BytesIO()
    with gzip.GzipFile(fileobj=made, mode="wb", mtime=when, compresslevel=6) as archive:
        archive.write(data)
    return made.getvalue()


class Layout:
    """The members of the archive, by their names."""

    def __init__(self):
        self.members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(self, kind, data, **more):
        """Puts it in; returns its descriptor."""
        if not isinstance(data, bytes):
            data = json.dumps(data, separators=(",", ":"), sort_keys=True).encode()
        digest = hashlib.sha256(data).hexdigest()
        self.members[f"blobs/sha256/{digest}"] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data), **more}

    def image(self, folder, config, when):
        """The image of one processor; returns its descriptor."""
        processor, layer = architecture(folder), packed(below(folder), when)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
        diff = f"sha256:{hashlib.sha256(layer).hexdigest()}"
        known = {
            "architecture": processor, "os": "linux", "created": created, "config": config,
            "rootfs": {"type": "layers", "diff_ids": [diff]}, "history": [{"created": created, "created_by": "deploy/release image"}],
        }
        manifest = {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": self.blob("config.v1+json", known),
            "layers": [self.blob("layer.v1.tar+gzip", zipped(layer, when))],
        }
        return self.blob("manifest.v1+json", manifest, platform={"architecture": processor, "os": "linux"})

    def archive(self, images, name, when):
        """Writes the index of all of them under a name. Returns the index's digest and the archive."""
        images = sorted(images, key=lambda one: one["platform"]["architecture"])
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": images}
        # The first is what containerd calls the image, the second what the specification knows.
        tag = name.rpartition(":")[2]
        named = self.blob("index.v1+json", index, annotations={"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag})
        top = index | {"manifests": [named]}
        self.members["index.json"] = json.dumps(top, separators=(",", ":"), sort_keys=True).encode()
        return named["digest"], packed(self.members, when)


def write(folders, name, revision, dockerfile, target):
    """Writes the image of all folders, one for each processor, and returns the digest by which it is pulled."""
    when, layout = epoch(), Layout()
    config = configuration(dockerfile, {"EPHEMON_REVISION": revision})
    images = [layout.image(pathlib.Path(folder), config, when) for folder in folders]
    processors = [one["platform"]["architecture"] for one in images]
    if len(set(processors)) != len(processors):
        sys.exit(f"two folders are for the same processor: {processors}")
    digest, archive = layout.archive(images, name, when)
    pathlib.Path(target).write_bytes(archive)
    return digest
