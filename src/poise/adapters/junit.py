"""JUnit XML, counted. Files with a document type or entities are refused, so nothing can expand.

Source: the Jenkins and Ant dialect of JUnit XML; there is no formal standard.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from poise.model.delivery import TestCount

FILES: Final = 1000
FILE_BYTES: Final = 32 * 2**20
ENTRIES: Final = 200_000
_SKIPPED: Final = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__"})
_REFUSED: Final = (b"<!DOCTYPE", b"<!ENTITY")


def count(tree: Path) -> TestCount:
    """What every JUnit file under ``tree`` says together; other XML counts nothing."""
    found = [counted for path in _files(tree) if (counted := count_file(path)) is not None]
    return TestCount(
        passed=sum(one.passed for one in found),
        failed=sum(one.failed for one in found),
        skipped=sum(one.skipped for one in found),
    )


def count_file(path: Path) -> TestCount | None:
    """Test cases of one file by outcome; None when it is not JUnit, too large, or declares entities."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(FILE_BYTES + 1)
    except OSError:
        return None
    return count_bytes(data)


def count_bytes(data: bytes) -> TestCount | None:
    """As ``count_file``. Other encodings than UTF-8 and its subsets are refused: they could hide a marker."""
    if len(data) > FILE_BYTES or b"\0" in data or any(mark in data for mark in _REFUSED):
        return None
    try:
        root = ElementTree.fromstring(data.decode())  # noqa: S314 - as above
    except (ElementTree.ParseError, UnicodeDecodeError, ValueError):
        return None
    if root.tag not in ("testsuite", "testsuites"):
        return None
    passed = failed = skipped = 0
    for case in root.iter("testcase"):
        said = {child.tag for child in case}
        if said & {"failure", "error"}:
            failed += 1
        elif "skipped" in said:
            skipped += 1
        else:
            passed += 1
    return TestCount(passed=passed, failed=failed, skipped=skipped)


def _files(tree: Path) -> Iterator[Path]:
    """XML files, at most ``FILES`` among ``ENTRIES``, not following links."""
    seen = given = 0
    for folder, folders, names in os.walk(tree):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(names):
            seen += 1
            if seen > ENTRIES or given >= FILES:
                return
            if name.endswith(".xml"):
                given += 1
                yield Path(folder) / name
