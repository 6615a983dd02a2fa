"""What each program is made of, by Cargo.lock: CycloneDX, by the CycloneDX project's own tool."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from tools import ROOT, cargo_tool, run

from releasing import oci

# The crates of the programs, and the platform whose dependencies they have.
CRATES = {"agent": "ephemon", "hook": "ephemon-hook", "init": "ephemon-init"}
TARGET = "x86_64-unknown-linux-gnu"


def sources(copy):
    """A copy of what the programs are built of: Cargo resolves a workspace as a whole, and would count in the crates
    of tests, of the demo and of benchmarks."""
    shutil.copytree(ROOT / "src", copy / "src", symlinks=True)
    shutil.copy(ROOT / "Cargo.lock", copy)
    members = ", ".join(f'"src/{crate}"' for crate in CRATES)
    text = re.sub(r"(?ms)^(default-)?members = \[.*?^\]$", rf"\g<1>members = [{members}]", (ROOT / "Cargo.toml").read_text())
    (copy / "Cargo.toml").write_text(text)
    for manifest in (copy / "src").glob("*/Cargo.toml"):
        manifest.write_text(re.sub(r"(?ms)^\[dev-dependencies\]$.*?(?=^\[|\Z)", "", manifest.read_text()))


def built():
    """The crates that Cargo compiles into the programs: `NAME vVERSION`."""
    packages = [word for crate in CRATES for word in ("--package", f"ephemon-{crate}")]
    code, out, err = run("cargo", "tree", "--locked", "--edges", "normal", "--target", TARGET, "--prefix", "none", *packages)
    if code != 0:
        sys.exit(f"cargo tree: {err.strip()}")
    return {" ".join(line.split()[:2]) for line in out.splitlines() if line}


def pruned(bill, known):
    """Without crates that are not compiled: what the tool asks Cargo for has optional ones whose features are off."""
    kept = [one for one in bill["components"] if f"{one['name']} v{one['version']}" in known]
    references = {bill["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in kept)}
    edges = [one for one in bill["dependencies"] if one["ref"] in references]
    for one in edges:
        if "dependsOn" in one:
            one["dependsOn"] = [reference for reference in one["dependsOn"] if reference in references]
    return bill | {"components": kept, "dependencies": edges}


def write(target):
    """Writes PROGRAM.cdx.json for each program into a folder; returns the paths. The tool writes beside each
    crate's manifest, so it gets a copy of the sources."""
    target = pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(oci.epoch())}
    found, known = [], built()
    with tempfile.TemporaryDirectory() as scratch:
        copy = pathlib.Path(scratch) / "ephemon"
        sources(copy)
        command = [cargo_tool("cargo-cyclonedx"), "cyclonedx", "--format", "json", "--target", TARGET, "--no-build-deps", "--all", "--spec-version", "1.5", "--override-filename", "made"]
        done = subprocess.run(command, cwd=copy, env=environment, text=True, capture_output=True)
        if done.returncode != 0:
            sys.exit(f"cargo cyclonedx: {done.stderr.strip()}")
        for crate, program in CRATES.items():
            path = target / f"{program}.cdx.json"
            # Where it was made is nobody's matter, and not the same twice.
            text = (copy / "src" / crate / "made.json").read_text().replace(str(copy), "")
            path.write_text(json.dumps(pruned(json.loads(text), known), indent=2) + "\n")
            found.append(path)
    return found
