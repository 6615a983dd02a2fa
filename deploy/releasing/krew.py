"""The manifest of the kubectl plugin, with the checksums of a release's archives in it."""
import hashlib
import pathlib
import re
import sys

from tools import ROOT

TEMPLATE = "deploy/krew/ephemon.yaml"


def write(folder):
    """Fills in what the archives in the folder have; writes the manifest beside them."""
    folder = pathlib.Path(folder)
    text = (ROOT / TEMPLATE).read_text()
    for uri, name, place in re.findall(r"(?m)^ +uri: (\S+/(\S+))\n +sha256: (\S+)$", text):
        archive = folder / name
        if not archive.is_file():
            sys.exit(f"{archive}: is not there, and {TEMPLATE} names it as {uri}")
        text = text.replace(place, hashlib.sha256(archive.read_bytes()).hexdigest())
    if "SHA256-" in text:
        sys.exit(f"{TEMPLATE}: a place for a checksum has no archive")
    path = folder / "ephemon.krew.yaml"
    path.write_text(text)
    return path
