"""Target groups from where a configuration says: its own list, files, a URL, replicas of services."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from poise.model.errors import Invalid
from poise.model.fleet import Replica
from poise.model.scrape import TargetGroup

FILE_BYTES: Final = 4_194_304
META: Final = "__meta_"


def groups_of_json(text: bytes, where: str) -> tuple[TargetGroup, ...]:
    """Prometheus' ``[{"targets": [...], "labels": {...}}]``. Raises ``Invalid``."""
    try:
        return msgspec.json.decode(text, type=tuple[TargetGroup, ...])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unread(where, str(error)) from None


def groups_of_files(patterns: Sequence[str]) -> tuple[tuple[TargetGroup, ...], tuple[Invalid, ...]]:
    """What the files hold that can be read, and what is wrong with the others."""
    made: list[TargetGroup] = []
    faults: list[Invalid] = []
    for pattern in patterns:
        folder, name = Path(pattern).parent, Path(pattern).name
        for path in sorted(folder.glob(name)):
            try:
                for group in _of_file(path):
                    labels = {f"{META}filepath": str(path), **group.labels}
                    made.append(TargetGroup(targets=group.targets, labels=labels))
            except Invalid as error:
                faults.append(error)
    return tuple(made), tuple(faults)


def _of_file(path: Path) -> tuple[TargetGroup, ...]:
    try:
        if path.stat().st_size > FILE_BYTES:
            raise _unread(str(path), f"it is larger than {FILE_BYTES} bytes")
        text = path.read_bytes()
        if path.suffix == ".json":
            return groups_of_json(text, str(path))
        loaded = YAML(typ="safe", pure=True).load(text.decode())
        return msgspec.convert(loaded or [], tuple[TargetGroup, ...])
    except YAMLError as error:  # without the text around it: it may be anybody's file
        raise _unread(str(path), str(getattr(error, "problem", None) or "it is not YAML")) from None
    except (OSError, UnicodeDecodeError, msgspec.ValidationError, ValueError, RecursionError) as error:
        raise _unread(str(path), " ".join(str(error).split())[:300]) from None


def groups_of_replicas(replicas: Iterable[Replica], services: Sequence[str]) -> tuple[TargetGroup, ...]:
    """Each replica of these services (``name`` in every environment) that has a port.

    Its instance is its key, which outlives restarts, so that a restart makes no new series.
    """
    made = []
    for one in replicas:
        _, environment, service = one.service.split("/")
        if one.port is None or service not in services:
            continue
        labels = {
            "instance": one.key.partition("/")[2], "service": service, "environment": environment,
            f"{META}poise_rollout": str(one.rollout), f"{META}poise_index": str(one.index),
            f"{META}poise_ready": str(one.ready).lower(),
        }  # fmt: skip
        made.append(TargetGroup(targets=(f"127.0.0.1:{one.port}",), labels=labels))
    return tuple(made)


def _unread(where: str, why: str) -> Invalid:
    return Invalid(
        "POISE-M504", "these targets cannot be read", where=where, why=f"{why}.",
        mend='Write [{"targets": ["host:port"], "labels": {"name": "value"}}].',
    )  # fmt: skip
