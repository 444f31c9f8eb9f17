"""The difference between what is declared and what is on record, and the decision that closes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from poise.model.event_types import DECLARED, REDECLARED, SPEC_APPLIED, SPEC_REFUSED, UNDECLARED
from poise.model.exclusion import Exclusion
from poise.model.objective import Objective
from poise.model.oncall import EscalationPolicy, OnCallSchedule
from poise.model.record import Decision, Event, Read, Write
from poise.model.rules import RuleFile
from poise.model.service import Project, Service

Declaration = Project | Service | Objective | OnCallSchedule | EscalationPolicy | RuleFile | Exclusion


class Act(StrEnum):
    """What closes a difference."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class FieldDiff(Struct, frozen=True, kw_only=True):
    """One field that differs, by its dotted path (``replicas.min``); None where there is no value."""

    field: str
    before: Any
    after: Any


class Difference(Struct, frozen=True, kw_only=True):
    """One object that is declared otherwise than it is on record."""

    kind: str
    key: str
    act: Act
    fields: tuple[FieldDiff, ...] = ()


class Seen(Struct, frozen=True, kw_only=True):
    """One project: what is on record and what its head declares, or why that is refused.

    ``settled`` is the commit whose declarations were applied or refused last; ``current`` and
    ``declared`` are every project, service and objective, in any order.
    """

    project: str
    commit: str
    settled: str
    by: str
    current: tuple[Declaration, ...] = ()
    declared: tuple[Declaration, ...] = ()
    refused: str = ""
    reads: tuple[Read, ...] = ()


def decide(seen: Seen) -> Decision:
    """Apply the head's declarations once; a refused file is said once and changes nothing."""
    if seen.commit == seen.settled:
        return Decision()
    if seen.refused:
        return Decision(reads=seen.reads, events=(_refused(seen),))
    done = change(seen.current, seen.declared, seen.by, seen.reads)
    applied = Event(
        type=SPEC_APPLIED,
        subject=seen.project,
        summary=f"poise.yaml of {seen.commit[:8]} applied: {len(done.writes)} differences",
        actor=seen.by,
        data={"commit": seen.commit, "differences": len(done.writes)},
    )
    return Decision(reads=done.reads, writes=done.writes, events=(*done.events, applied))


def plan(current: Iterable[Declaration], declared: Iterable[Declaration]) -> tuple[Difference, ...]:
    """Every difference, in the order of kind (project, service, ..., rule file) and key."""
    before, after = _by_key(current), _by_key(declared)
    names = sorted({*before, *after}, key=lambda name: (_ORDER[name[0]], name[1]))
    found = (_difference(name, before.get(name), after.get(name)) for name in names)
    return tuple(difference for difference in found if difference is not None)


def change(
    current: Iterable[Declaration], declared: Iterable[Declaration], by: str, reads: tuple[Read, ...]
) -> Decision:
    """The decision that closes every difference. A project is never deleted by leaving it out."""
    current, declared = tuple(current), tuple(declared)
    after = _by_key(declared)
    differences = [
        difference
        for difference in plan(current, declared)
        if not (difference.kind == "Project" and difference.act is Act.DELETE)
    ]
    return Decision(
        reads=reads,
        writes=tuple(
            Write(kind=diff.kind, key=diff.key, body=after.get((diff.kind, diff.key))) for diff in differences
        ),
        events=tuple(_event(difference, by) for difference in differences),
    )


_ORDER = {
    "Project": 0, "Service": 1, "Objective": 2, "OnCallSchedule": 3, "EscalationPolicy": 4, "RuleFile": 5,
    "Exclusion": 6,
}  # fmt: skip
_EVENTS = {Act.CREATE: DECLARED, Act.UPDATE: REDECLARED, Act.DELETE: UNDECLARED}
_VERBS = {Act.CREATE: "is declared", Act.UPDATE: "is declared anew", Act.DELETE: "is no longer declared"}


def _by_key(declarations: Iterable[Declaration]) -> dict[tuple[str, str], Declaration]:
    return {(type(body).__name__, body.name if isinstance(body, Project) else body.key): body
            for body in declarations}  # fmt: skip


def _difference(
    name: tuple[str, str], before: Declaration | None, after: Declaration | None
) -> Difference | None:
    if before == after:
        return None
    fields = tuple(_fields(_flat(before), _flat(after)))
    act = Act.CREATE if before is None else Act.DELETE if after is None else Act.UPDATE
    return Difference(kind=name[0], key=name[1], act=act, fields=fields)


def _flat(body: Declaration | None) -> dict[str, Any]:
    return {} if body is None else dict(_leaves("", msgspec.to_builtins(body)))


def _leaves(path: str, value: object) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else str(name), inner)
    elif isinstance(value, list) and value and all(isinstance(one, dict) and "name" in one for one in value):
        yield from _leaves(path, {one["name"]: {**one, "name": None} for one in value})
    else:
        yield path, value


def _fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[FieldDiff]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield FieldDiff(field=name, before=before.get(name), after=after.get(name))


def _event(difference: Difference, by: str) -> Event:
    secretless = [diff.field for diff in difference.fields]  # an env value may be private; names are not
    return Event(
        type=_EVENTS[difference.act],
        subject=difference.key,
        summary=f"{difference.kind.lower()} {difference.key} {_VERBS[difference.act]}",
        actor=by,
        data={"kind": difference.kind, "fields": secretless},
    )


def _refused(seen: Seen) -> Event:
    return Event(
        type=SPEC_REFUSED,
        subject=seen.project,
        summary=f"poise.yaml of {seen.commit[:8]} is refused; what was declared before still holds",
        actor=seen.by,
        data={"commit": seen.commit, "problem": seen.refused},
    )
