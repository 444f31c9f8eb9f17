"""What an incident looks like before anything is blamed: who depends on whom, where failures start."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from poise.model.anomaly import Usual
from poise.model.incident import Diagnosis, Incident, SuspectKind
from poise.model.record import Read
from poise.reliability.cause.evidence import Comparison, Count, Flow, Step, compare, median, merged, rise

LOOK_BACK_S: Final = 7200.0  # changes older than this are not looked at
MEASURED_BACK_S: Final = 2700.0  # of counters, before the onset
MEASURED_AFTER_S: Final = 1800.0
RISE_BACK_S: Final = 1800.0  # an alert's onset may be so late
EXCESS_LOG_RATIO: Final = 3.0
OWN_SHARE: Final = 0.35  # of a service's failures, not explained by those of its dependencies
NEAR_S: Final = 600.0  # an excess is told from the service's ratio this long before


class Measure(StrEnum):
    """What makes a request bad."""

    FAILED = "failed"
    SLOW = "slow"


class Candidate(Struct, frozen=True, kw_only=True):
    """A change that might have done it.

    ``began_at`` is when it took traffic; ``n`` and ``old`` the rollouts before and after it (None: a change
    without versions); ``prior`` (0..1) its kind's and class's; ``condemned`` says who found it bad already;
    ``undone_at`` since when it takes no traffic; ``events`` the journal's sequences about it.
    """

    kind: SuspectKind
    subject: str
    service: str
    summary: str
    began_at: datetime
    n: int | None = None
    old: int | None = None
    prior: float = 1.0
    condemned: str = ""
    undone_at: datetime | None = None
    events: tuple[int, ...] = ()


Flows = Mapping[str, Mapping[int, Flow]]  # by service and rollout


class Seen(Struct, frozen=True, kw_only=True):
    """An incident with everything it is diagnosed from.

    ``depends_on`` are keys of services by service, for all of the environment; ``flows`` by measure.
    """

    incident: Incident
    depends_on: dict[str, tuple[str, ...]]
    candidates: tuple[Candidate, ...] = ()
    flows: dict[Measure, dict[str, dict[int, Flow]]] = {}
    usual: dict[str, Usual] = {}  # by service, around the onset
    before: Diagnosis | None = None
    reads: tuple[Read, ...] = ()


class Scene:
    """The measured scene. Everything is derived from ``seen`` and ``now`` once, and only read after."""

    def __init__(self, seen: Seen, now: datetime) -> None:
        incident = seen.incident
        self.seen = seen
        self.onset = incident.onset_at.timestamp()
        over = incident.cleared_at or incident.resolved_at or now
        self.start = self.onset - MEASURED_BACK_S
        self.end = max(self.onset + 1.0, min(over.timestamp(), self.onset + MEASURED_AFTER_S))
        self.until = now.timestamp()
        self.connected = closure(seen.depends_on, (incident.service, *incident.services))
        self.measure = Measure.FAILED
        for measure in Measure:
            self._take(measure)
            if any(self.excess(service) is not None for service in self.connected):
                break
        else:
            self._take(Measure.FAILED)

    def _take(self, measure: Measure) -> None:
        self.measure = measure
        self.flows: Flows = self.seen.flows.get(measure, {})
        self.whole = {service: merged(versions.values()) for service, versions in self.flows.items()}
        self.rises: dict[str, Step | None] = {
            service: rise(flow, self.onset - RISE_BACK_S, self.end) for service, flow in self.whole.items()
        }
        first = self.rises.get(self.seen.incident.service)
        self.since = min(self.onset, first.at - 1e-3) if first else self.onset
        self._excess: dict[str, Comparison | None] = {}

    @property
    def is_measured(self) -> bool:
        """Whether the incident's services were counted enough to say anything."""
        incident = self.seen.incident
        counts = (self._after(service) for service in (incident.service, *incident.services))
        return any(count.trials >= 10 for count in counts)

    def flow(self, service: str, n: int | None) -> Flow:
        """One version's requests."""
        return self.flows.get(service, {}).get(n, Flow()) if n is not None else Flow()

    def excess(self, service: str) -> Comparison | None:
        """How much worse a service is since the onset than before; None where it clearly is not."""
        if service not in self._excess:
            self._excess[service] = self._compare_excess(service)
        return self._excess[service]

    def _compare_excess(self, service: str) -> Comparison | None:
        before = self.whole.get(service, Flow()).count(max(self.start, self.since - NEAR_S), self.since)
        after = self._after(service)
        if before.trials < 10:  # it was never seen before: what is usual is taken as faultless
            before = Count(max(before.trials, after.trials, 10.0), before.bad)
        found = compare(after, before)
        return found if found is not None and found.log_ratio >= EXCESS_LOG_RATIO else None

    def excess_bad(self, service: str) -> float:
        """How many bad requests more than usual a service had since the onset."""
        found = self.excess(service)
        return 0.0 if found is None else found.new.bad * found.attributable

    def own_share(self, service: str) -> float | None:
        """Which share of a service's excess its dependencies' does not explain; None without an excess.

        Each failure passed on was one of a dependency first, so theirs bound what came from below.
        """
        own = self.excess_bad(service)
        if own <= 0:
            return None
        below = sum(self.excess_bad(one) for one in set(self.seen.depends_on.get(service, ())))
        return max(0.0, own - below) / own

    def answers_well(self, service: str) -> bool:
        """Whether enough of it was measured since the onset, and it is no worse than before."""
        return self._after(service).trials >= 30 and self.excess(service) is None

    def elsewhere(self, service: str, began: float, end: float) -> float:
        """By how much the ratio rose in services that have nothing to do with this one."""
        mine = closure(self.seen.depends_on, (service,))
        rises = []
        for other, flow in self.whole.items():
            if other in mine or service in closure(self.seen.depends_on, (other,)):
                continue
            before, after = flow.count(self.start, began), flow.count(began, end)
            if before.trials >= 30 and after.trials >= 30:
                rises.append(max(0.0, after.ratio - before.ratio))
        return median(rises)

    def distance(self, service: str) -> int:
        """How many dependencies lie between the incident's service and this one (0: itself)."""
        layer, seen, steps = {self.seen.incident.service}, set[str](), 0
        while layer and service not in layer:
            seen |= layer
            layer = {below for one in layer for below in self.seen.depends_on.get(one, ())} - seen
            steps += 1
        return steps if layer else 1

    def starts_at(self) -> str | None:
        """The service whose own failures rose most; None where none did."""
        own = {one: self.excess_bad(one) * (self.own_share(one) or 0.0) for one in sorted(self.connected)}
        worst = max(own, key=lambda one: own[one], default=None)
        return worst if worst is not None and own[worst] > 0 else None

    def _after(self, service: str) -> Count:
        return self.whole.get(service, Flow()).count(self.since, self.end)


def closure(depends_on: Mapping[str, tuple[str, ...]], services: tuple[str, ...]) -> frozenset[str]:
    """The services and everything they depend on, transitively. A circle ends where it began."""
    found: set[str] = set()
    left = list(services)
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += depends_on.get(one, ())
    return frozenset(found)
