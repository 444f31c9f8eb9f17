"""From the text of a lockfile to the components it pins. What it does not pin is counted, never guessed.

Source: pip's requirements file format and PEP 508/440; python-poetry's poetry.lock, uv.lock, PDM's pdm.lock;
npm's package-lock.json (lockfileVersion 1 to 3); the Go modules reference ("go.sum files"); Cargo.lock.
"""

from __future__ import annotations

import json
import re
import tomllib
from base64 import b64decode
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from typing import Any, Final, NamedTuple

COMPONENTS_MAX: Final = 50_000  # of one lockfile
_PIN: Final = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*={2,3}\s*(?P<version>[^\s;,#*]+)\s*(?:;.*)?"
)
_HASH: Final = re.compile(r"--hash[= ]sha256:([0-9a-f]{64})")
_COMMENT: Final = re.compile(r"(^|\s)#.*$")


class Component(NamedTuple):
    """One pinned package; ``hashes``: (CycloneDX's name of the algorithm, hex), where one file is meant."""

    ecosystem: str
    name: str
    version: str
    hashes: tuple[tuple[str, str], ...] = ()


class Pinned(NamedTuple):
    """What a lockfile says."""

    components: tuple[Component, ...]
    unpinned: int = 0


class Unreadable(ValueError):
    """A file that is not what its name says; the message says why."""


Reader = Callable[[str], Pinned]


def reader_of(name: str) -> tuple[str, Reader] | None:
    """The ecosystem and the reader for a file of this name; None: it is no lockfile that can be read."""
    found = READERS.get(name)
    if found is None and fnmatch(name, "requirements*.txt"):
        return "pypi", requirements
    return found


def requirements(text: str) -> Pinned:
    """A pip requirements file. Only ``name==version`` is a pin; a wildcard, URL or path is none.

    >>> requirements("flask==3.1.0 --hash=sha256:" + "0" * 64 + "\\nclick>=8  # any").unpinned
    1
    """
    found, unpinned = [], 0
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        said = _COMMENT.sub("", line).strip()
        if not said or said.startswith("-"):
            unpinned += said.startswith(("-e", "--editable"))
            continue
        hashes = _HASH.findall(said)
        pin = _PIN.fullmatch(said.partition(" --")[0].strip())
        if pin is None:
            unpinned += 1
            continue
        one = (("SHA-256", hashes[0]),) if len(hashes) == 1 else ()
        found.append(Component("pypi", _normal(pin["name"]), pin["version"], one))
    return _bounded(found, unpinned)


def python_lock(text: str) -> Pinned:
    """poetry.lock, uv.lock or pdm.lock. The project itself (editable, virtual, a path) is no component."""
    found, unpinned = [], 0
    for package in _packages(text):
        source = package.get("source", {})
        local = isinstance(source, dict) and (
            {"editable", "virtual", "directory", "path"} & set(source) or source.get("type") == "directory"
        )
        if local or package.get("editable") is True:
            continue
        name, version = package.get("name"), package.get("version")
        if isinstance(name, str) and isinstance(version, str):
            found.append(Component("pypi", _normal(name), version))
        else:
            unpinned += 1
    return _bounded(found, unpinned)


def cargo_lock(text: str) -> Pinned:
    """Cargo.lock. What has no source is a member of the workspace itself, and no component."""
    found = []
    for package in _packages(text):
        name, version, source = package.get("name"), package.get("version"), package.get("source")
        if isinstance(source, str) and isinstance(name, str) and isinstance(version, str):
            checksum = package.get("checksum")
            hashes = (("SHA-256", checksum),) if isinstance(checksum, str) and _is_hex(checksum, 64) else ()
            found.append(Component("cargo", name, version, hashes))
    return _bounded(found, 0)


def go_sum(text: str) -> Pinned:
    """go.sum: what the go command checked, which may be more than what is linked in.

    A line for ``/go.mod`` alone is a module whose code was never fetched. Its h1: hash is over a listing, no
    file's, and so is none of CycloneDX's.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or not words[1].startswith("v") or not words[2].startswith("h1:"):
            raise Unreadable(f"line {number} is not 'module version h1:hash'")
        if not words[1].endswith("/go.mod"):
            found.append(Component("golang", words[0], words[1]))
    return _bounded(found, 0)


def package_lock(text: str) -> Pinned:
    """package-lock.json: ``packages`` (version 2 and 3), else ``dependencies`` (1). Links are its own."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Unreadable("it is not an object")
    packages, nested = found.get("packages"), found.get("dependencies", {})
    if isinstance(packages, dict):
        made = [_npm(path.rpartition("node_modules/")[2], one) for path, one in packages.items()
                if path.startswith("node_modules/") or "/node_modules/" in path]  # fmt: skip
    elif isinstance(nested, dict):
        made = list(_nested(nested))
    else:
        raise Unreadable("it has neither 'packages' nor 'dependencies'")
    whole = [one for one in made if isinstance(one, Component)]
    return _bounded(whole, sum(one == "unpinned" for one in made))


READERS: Final[dict[str, tuple[str, Reader]]] = {
    "poetry.lock": ("pypi", python_lock),
    "uv.lock": ("pypi", python_lock),
    "pdm.lock": ("pypi", python_lock),
    "package-lock.json": ("npm", package_lock),
    "npm-shrinkwrap.json": ("npm", package_lock),
    "go.sum": ("golang", go_sum),
    "Cargo.lock": ("cargo", cargo_lock),
}


def _packages(text: str) -> list[dict[str, Any]]:
    try:
        found = tomllib.loads(text).get("package", [])
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Unreadable(f"it is not TOML: {error}") from None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Unreadable("'package' is no list of tables")
    return found


def _nested(dependencies: dict[str, Any]) -> Iterator[Component | str]:
    waiting = [dependencies]
    while waiting:
        for name, one in waiting.pop().items():
            yield _npm(name, one)
            inner = one.get("dependencies") if isinstance(one, dict) else None
            if isinstance(inner, dict):
                waiting.append(inner)


def _npm(name: str, package: Any) -> Component | str:
    """A package, ``link`` for one of its own, ``unpinned`` for one without a version."""
    if not isinstance(package, dict):
        raise Unreadable(f"{name[:80]!r} is no object")
    if package.get("link") is True:
        return "link"
    version, real = package.get("version"), package.get("name", name)
    if not isinstance(version, str) or not isinstance(real, str) or "/" in version or ":" in version:
        return "unpinned"
    return Component("npm", real, version, _integrity(package.get("integrity")))


def _integrity(said: Any) -> tuple[tuple[str, str], ...]:
    """One hash of Subresource Integrity, as hex."""
    names = {"sha512": ("SHA-512", 64), "sha256": ("SHA-256", 32), "sha1": ("SHA-1", 20)}
    algorithm, _, body = said.partition("-") if isinstance(said, str) else ("", "", "")
    name, size = names.get(algorithm, ("", 0))
    try:
        raw = b64decode(body, validate=True)
    except ValueError:
        return ()
    return ((name, raw.hex()),) if name and len(raw) == size else ()


def _normal(name: str) -> str:
    """Source: PEP 503, "Normalized Names"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and not set(text) - set("0123456789abcdef")


def _bounded(found: list[Component], unpinned: int) -> Pinned:
    if len(found) > COMPONENTS_MAX:
        raise Unreadable(f"it has more than {COMPONENTS_MAX} components")
    return Pinned(tuple(found), unpinned)
