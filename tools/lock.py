"""Write `requirements.lock`: every package this project runs, tests and builds with, by version and hash.

`make lock` runs it. pip resolves `pyproject.toml` once, then names the wheel it would choose for each
machine and Python that Poise supports, from whatever index pip is set up with. The lock holds names,
versions and SHA-256 hashes, never an address, and is the same for the same answers.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
MACHINES = ("x86_64", "aarch64")
PYTHONS = ("3.11", "3.12", "3.13")
GLIBC_MINORS = range(5, 32)  # Poise asks for glibc 2.31, which runs wheels built for any older one
EDITABLE = ("editables",)  # what the build backend asks for when it installs in place
HEADER = """\
# Written by tools/lock.py, do not edit: each package, and the hashes of its wheels (Linux, x86-64 and arm64).
# Install with: pip install --require-hashes -r requirements.lock && pip install --no-deps -e . (make does)
"""


def main() -> int:
    wanted = requirements(tomllib.loads((ROOT / "pyproject.toml").read_text()))
    versions = {name: version for name, version, _ in report([], wanted)}
    pins = [f"{name}=={version}" for name, version in sorted(versions.items())]
    hashes: dict[str, set[str]] = {name: set() for name in versions}
    for machine in MACHINES:
        for python in PYTHONS:
            sys.stderr.write(f"wheels for {machine}, Python {python}\n")
            for name, _, sha256 in report(target(machine, python), pins):
                hashes[name].add(sha256)
    LOCK.write_text(HEADER + "".join(entry(name, versions[name], hashes[name]) for name in sorted(versions)))
    sys.stderr.write(f"{LOCK.name}: {len(versions)} packages\n")
    return 0


def requirements(project: dict[str, Any]) -> list[str]:
    extras = project["project"].get("optional-dependencies", {})
    return sorted(
        {
            *project["project"]["dependencies"],
            *(requirement for group in extras.values() for requirement in group),
            *project["build-system"]["requires"],
            *EDITABLE,
        }
    )


def target(machine: str, python: str) -> list[str]:
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in reversed(GLIBC_MINORS)]
    platforms += [f"manylinux{year}_{machine}" for year in ("2014", "2010", "1")] + [f"linux_{machine}"]
    options = [option for platform in platforms for option in ("--platform", platform)]
    return [*options, "--python-version", python, "--no-deps", "--target", tempfile.gettempdir()]


def report(options: list[str], wanted: list[str]) -> list[tuple[str, str, str]]:
    """(name, version, sha256) of what pip would install."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--only-binary", ":all:", "--report", "-", *options, *wanted]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        lines = [line for line in answer.stderr.splitlines() if line.startswith("ERROR")]
        sys.exit("pip found no set of wheels:\n" + "\n".join(lines))
    return [
        (normal(item["metadata"]["name"]), item["metadata"]["version"], sha256_of(item))
        for item in json.loads(answer.stdout)["install"]
    ]


def sha256_of(item: dict[str, Any]) -> str:
    return str(item["download_info"]["archive_info"]["hashes"]["sha256"])


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def entry(name: str, version: str, hashes: set[str]) -> str:
    return (
        " \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{value}" for value in sorted(hashes))])
        + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
