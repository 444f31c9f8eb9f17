"""Which findings are new, which stand, which are gone: each is told once, and once more when it ends.

Pure. Drift is told, not repaired: what Poise keeps converging repairs itself, the rest is a person's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from poise.delivery.infrastructure.decide import Declaration, plan
from poise.model.drift import Drift, DriftKind, Finding, drift_key
from poise.model.event_types import DRIFT_FOUND, DRIFT_GONE
from poise.model.record import Decision, Event, Read, Recorded, Write
from poise.model.service import Project

FINDINGS_MAX: Final = 100  # of one kind in one project; the rest is found once these are gone
LOOK_S: Final = 60.0
LASTS_S: Final = 30.0  # a process that comes or goes is no drift; one that stays so is


class Seen(Struct, frozen=True, kw_only=True):
    """One project: what stands on record, and what was found by kind.

    A kind that could not be looked at is absent: what was found of it before then stands.
    """

    project: str
    known: tuple[Drift, ...] = ()
    found: Mapping[DriftKind, tuple[Finding, ...]] = {}
    reads: tuple[Read, ...] = ()


def decide(seen: Seen, now: datetime) -> Decision:
    """Write what is new and delete what is gone."""
    before = {drift.key: drift for drift in seen.known}
    after = {
        drift_key(seen.project, finding): finding
        for findings in seen.found.values()
        for finding in findings[:FINDINGS_MAX]
    }
    new = [
        Drift(project=seen.project, finding=one, found_at=now)
        for key, one in after.items()
        if key not in before
    ]
    looked = seen.found.keys()
    gone = [one for key, one in before.items() if key not in after and one.finding.kind in looked]
    return Decision(
        reads=seen.reads,
        writes=(
            *(Write(kind="Drift", key=one.key, body=one) for one in new),
            *(Write(kind="Drift", key=one.key, body=None) for one in gone),
        ),
        events=(*(_found(one) for one in new), *(_gone(one) for one in gone)),
        wake_at=now + timedelta(seconds=LOOK_S),
    )


def undeclared(
    current: Iterable[Declaration], head: Iterable[Declaration], commit: str, told: Iterable[Recorded]
) -> tuple[Finding, ...]:
    """What is in force though the branch's head says otherwise; the journal says who did it, and when.

    ``told`` are events of declarations, ascending.
    """
    last = {row.event.subject: row for row in told}
    findings = []
    for difference in plan(head, current):
        if difference.kind == Project.__name__ and not difference.fields:
            continue
        row = last.get(difference.key)
        fields = ", ".join(diff.field for diff in difference.fields[:5])
        more = "" if len(difference.fields) <= 5 else f" and {len(difference.fields) - 5} more"
        what = f"{difference.kind.lower()} {difference.key} differs from poise.yaml at {commit[:8]}"
        findings.append(
            Finding(
                kind=DriftKind.DECLARATION,
                subject=difference.key,
                path=difference.kind,
                what=f"{what}: {fields}{more}" if fields else what,
                by=row.event.actor if row else None,
                at=row.at if row else None,
            )
        )
    return tuple(findings)


def strays(
    project: str, asked: Iterable[str], running: Iterable[str], since: Mapping[str, datetime], now: datetime
) -> tuple[Finding, ...]:
    """Processes that no record asks for and records without a process, both for ``LASTS_S`` by ``since``."""
    wanted, there = set(asked), set(running)
    long = {key for key, at in since.items() if (now - at).total_seconds() >= LASTS_S}
    extra = [(key, "runs though no record asks for it") for key in sorted(there - wanted)]
    absent = [(key, "is asked for and has no process") for key in sorted(wanted - there)]
    return tuple(
        Finding(kind=DriftKind.WORKLOAD, subject=key, what=f"{key} {said}")
        for key, said in (*extra, *absent)
        if key.startswith(f"{project}/") and key in long
    )


def _found(drift: Drift) -> Event:
    finding = drift.finding
    who = f" ({finding.by}, {finding.at:%Y-%m-%dT%H:%M:%SZ})" if finding.by and finding.at else ""
    return Event(
        type=DRIFT_FOUND,
        subject=drift.key,
        summary=f"drift: {finding.what}{who}",
        data={
            "kind": finding.kind.value,
            "subject": finding.subject,
            "path": finding.path,
            "by": finding.by,
            "at": finding.at.isoformat() if finding.at else None,
        },
    )


def _gone(drift: Drift) -> Event:
    return Event(
        type=DRIFT_GONE,
        subject=drift.key,
        summary=f"no longer: {drift.finding.what}",
        data={"kind": drift.finding.kind.value, "subject": drift.finding.subject},
    )
