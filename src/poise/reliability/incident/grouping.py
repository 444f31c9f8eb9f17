"""Which alerts are of one cause: alerts into groups by service, groups into parts by dependency. Pure.

The order in which alerts arrive does not matter: groups only grow while they matter, the gap between two
only shrinks, so links are only added, and what was opened apart is merged once it is linked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from zlib import crc32

from msgspec.structs import replace

from poise.model.incident import Alert, AlertGroup, AlertSource, AlertState, Severity
from poise.model.service import Service

NEWEST: Final = 20  # so many alerts are named; all are counted
NAME_CHARS: Final = 100
UNKNOWN: Final = "-"
SERVICE_LABELS: Final = ("service", "service_name", "app", "deployment", "workload", "container", "job")
OWNED: Final = "labels"  # the group of alerts whose labels, not their sender, name a declared service

Services = Mapping[str, Service]


def rank(severity: Severity) -> int:
    """0 is the worst."""
    return list(Severity).index(severity)


def worst(severities: Iterable[Severity]) -> Severity:
    """The worst of some."""
    return min(severities, key=rank)


def place(alert: Alert, services: Services) -> tuple[str, str]:
    """The service and the group that an alert belongs to.

    An alert of no known service belongs to the declared one that its labels name, else to what its labels
    have in common: a job is one part, whatever it complains of; without one, the alert's name.
    """
    place_of = alert.service.rpartition("/")[0]
    if alert.service.rsplit("/", 1)[-1] != UNKNOWN:
        return alert.service, ""
    for label in SERVICE_LABELS:
        named = f"{place_of}/{alert.labels.get(label, '').rsplit('/', 1)[-1]}"
        if named in services:
            return named, OWNED
    labels = alert.labels
    part = ("job",) if labels.get("job") else ("alertname",)
    said = [f"{name}={labels[name]}" for name in ("cluster", "namespace", *part) if labels.get(name)]
    return alert.service, _bounded(",".join(said) or alert.name)


def _bounded(text: str) -> str:
    plain = text.replace("/", "|")
    return plain if len(plain) <= NAME_CHARS else f"{plain[:NAME_CHARS]}~{crc32(plain.encode()):08x}"


def owner(group: AlertGroup) -> str:
    """The service under whose key the alerts of a group are kept."""
    return group.service if not group.group else f"{group.service.rpartition('/')[0]}/{UNKNOWN}"


def summed_up(
    place: tuple[str, str], alerts: Sequence[Alert], before: AlertGroup | None, after: datetime | None
) -> AlertGroup | None:
    """The alerts of one group as one, those first seen after ``after``; None when none matters."""
    counted = [alert for alert in alerts if after is None or alert.seen_at > after]
    firing = [alert for alert in counted if alert.state is AlertState.FIRING]
    if not firing and before is None:
        return None
    seen_at = min((one.seen_at for one in firing), default=None)
    opened_at = min(at for at in (before.seen_at if before else None, seen_at) if at is not None)
    mine = [
        one for one in counted if one.state is AlertState.FIRING or (one.ended_at or opened_at) > opened_at
    ]
    newest = sorted(mine, key=lambda one: (one.seen_at, one.key), reverse=True)[:NEWEST]
    if before is not None and not mine:
        return replace(before, firing=0)
    chief = min(firing or mine, key=lambda one: (rank(one.severity), one.started_at, one.key))
    onsets = [one.started_at for one in mine] + ([before.onset_at] if before and before.count else [])
    return AlertGroup(
        service=place[0],
        group=place[1],
        incident=before.incident if before else None,
        after=after,
        seen_at=opened_at,
        onset_at=min(onsets),
        fired_at=max([one.seen_at for one in firing] + ([before.fired_at] if before else [])),
        firing=len(firing),
        count=len(mine),
        severity=chief.severity,
        title=chief.summary,
        newest=tuple(one.key for one in newest),
        only_signals=all(one.source is AlertSource.SIGNAL for one in mine),
    )


def parts(groups: Sequence[AlertGroup], services: Services, window_s: float) -> list[list[AlertGroup]]:
    """Groups that are of one cause together, each part ascending by key, parts by their first."""
    ordered = sorted(groups, key=lambda group: group.key)
    root = list(range(len(ordered)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    for right, one in enumerate(ordered):
        for left, other in enumerate(ordered[:right]):
            if is_linked(one, other, services, window_s):
                root[find(right)] = find(left)
    made: dict[int, list[AlertGroup]] = {}
    for index, group in enumerate(ordered):
        made.setdefault(find(index), []).append(group)
    return sorted(made.values(), key=lambda part: part[0].key)


def is_linked(one: AlertGroup, other: AlertGroup, services: Services, window_s: float) -> bool:
    """Whether two groups are of one incident: already, or one service, or one needs the other, and in time.

    Missing signals of several services are one thing: what reads them is one.
    """
    if one.incident is not None and one.incident == other.incident:
        return True
    if _gap_s(one, other) > window_s:
        return False
    if one.only_signals and other.only_signals:
        return True
    if one.service == other.service:
        return not one.service.endswith(f"/{UNKNOWN}")
    return needs(one.service, other.service, services) or needs(other.service, one.service, services)


def needs(service: str, other: str, services: Services) -> bool:
    """Whether ``service`` declares that it depends on ``other``."""
    known = services.get(service)
    return known is not None and other.rpartition("/")[2] in known.depends_on


def _gap_s(one: AlertGroup, other: AlertGroup) -> float:
    """The time between the end of the one's alerts and the begin of the other's; 0 when they overlap."""
    later = max(one.onset_at, other.onset_at)
    sooner = min(one.fired_at, other.fired_at)
    return max(0.0, (later - sooner).total_seconds())


def deepest(groups: Sequence[AlertGroup], services: Services) -> AlertGroup:
    """Where the cause shows: of the services that need no other alerting one, the worst, then the first."""
    known = {group.service for group in groups}
    bottom = [g for g in groups if not any(needs(g.service, one, services) for one in known - {g.service})]
    return min(bottom or groups, key=lambda g: (g.count == 0, rank(g.severity), g.onset_at, g.key))
