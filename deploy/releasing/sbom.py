"""What each program is made of, by Cargo.lock: CycloneDX, by the CycloneDX project's own tool."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from tools import ROOT, cargo_tool

from releasing import oci

# The crates of the programs, and the platform whose dependencies they have.
CRATES = {"agent": "ephemon", "hook": "ephemon-hook", "init": "ephemon-init"}
TARGET = "x86_64-unknown-linux-gnu"


def write(target):
    """Writes PROGRAM.cdx.json for each program into a folder; returns the paths. The tool writes beside each
    crate's manifest, so it gets a copy of the sources."""
    target = pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(oci.epoch())}
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        copy = pathlib.Path(scratch) / "ephemon"
        for name in ("src", "tests"):
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("target", "fixtures", "golden", "seeds"))
        for name in ("Cargo.toml", "Cargo.lock"):
            shutil.copy(ROOT / name, copy)
        command = [cargo_tool("cargo-cyclonedx"), "cyclonedx", "--format", "json", "--target", TARGET, "--no-build-deps", "--all", "--spec-version", "1.5", "--override-filename", "made"]
        done = subprocess.run(command, cwd=copy, env=environment, text=True, capture_output=True)
        if done.returncode != 0:
            sys.exit(f"cargo cyclonedx: {done.stderr.strip()}")
        for crate, program in CRATES.items():
            path = target / f"{program}.cdx.json"
            # Where it was made is nobody's matter, and not the same twice.
            text = (copy / "src" / crate / "made.json").read_text().replace(str(copy), "")
            path.write_text(text)
            found.append(path)
    return found
