"""All facts so far. Events may come in any order, twice, or in parts: the same events are the same ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

from poise.balance.scorecard.deployments import (
    Deployment,
    History,
    IncidentFact,
    deployments,
    incident_of,
)
from poise.balance.scorecard.facts import Ending, Fact, Mark, Push, Signal, Spent, Trouble, fact
from poise.model.record import Recorded

Numbered = TypeVar("Numbered", bound=Fact)


class Ledger:
    """Facts by service and project; what is computed from them is kept until a fact of theirs is new."""

    def __init__(self) -> None:
        self.sequence = 0  # the newest event that was taken in
        self._pushes: dict[str, dict[int, Push]] = defaultdict(dict)
        self._marks: dict[str, dict[str, dict[str, Mark]]] = defaultdict(dict)
        self._endings: dict[str, dict[int, Ending]] = defaultdict(dict)
        self._troubles: dict[str, dict[str, dict[int, Trouble]]] = defaultdict(dict)
        self._signals: dict[str, dict[int, Signal]] = defaultdict(dict)
        self._spent: dict[str, dict[int, Spent]] = defaultdict(dict)
        self._built: dict[str, tuple[Deployment, ...]] = {}
        self._incidents: dict[str, list[IncidentFact]] = {}
        self._ordered: dict[str, tuple[list[Push], dict[str, int]]] = {}

    def add(self, rows: Iterable[Recorded]) -> None:
        """Take in events. O(1) each."""
        for row in rows:
            self.sequence = max(self.sequence, row.sequence)
            found = fact(row)
            if found is not None:
                self._keep(found)

    def services(self, project: str) -> list[str]:
        """Every service of a project that was ever deployed, ascending."""
        return sorted(key for key in self._endings if key.startswith(f"{project}/"))

    def deployments(self, service: str) -> tuple[Deployment, ...]:
        """Every deployment of a service, ascending by event."""
        built = self._built.get(service)
        if built is None:
            built = deployments(self._history(service))
            self._built[service] = built
        return built

    def spent(self, prefix: str) -> list[tuple[str, datetime]]:
        """(objective, when its budget was found spent) under a key prefix, ascending by event."""
        found = [one for key, all_ in self._spent.items() if key.startswith(prefix) for one in all_.values()]
        return [(one.objective, one.at) for one in sorted(found, key=lambda one: one.sequence)]

    def _keep(self, found: Fact) -> None:
        match found:
            case Push():
                self._pushes[found.project][found.sequence] = found
                self._forget(found.project)
            case Mark():
                service = found.rollout.rpartition("/")[0]
                marks = self._marks[service].setdefault(found.rollout, {})
                known = marks.get(found.kind)
                if known is None or found.sequence < known.sequence:  # the first of a kind is the moment
                    marks[found.kind] = found
                    self._built.pop(service, None)
            case Ending():
                self._endings[found.service][found.sequence] = found
                self._built.pop(found.service, None)
            case Trouble():
                project = found.incident.split("/", 1)[0]
                self._troubles[project].setdefault(found.incident, {})[found.sequence] = found
                self._forget(project)
            case Signal():
                self._signals[found.service][found.sequence] = found
                self._built.pop(found.service, None)
            case Spent():
                self._spent[found.objective][found.sequence] = found

    def _forget(self, project: str) -> None:
        """What pushes and incidents of a project say bears on all its services."""
        self._ordered.pop(project, None)
        self._incidents.pop(project, None)
        if self._built:
            for key in [key for key in self._built if key.startswith(f"{project}/")]:
                del self._built[key]

    def _history(self, service: str) -> History:
        project = service.split("/", 1)[0]
        if project not in self._ordered:
            pushes = _first_of_each(_ascending(self._pushes.get(project, {})))
            self._ordered[project] = (pushes, {push.head: i for i, push in enumerate(pushes)})
        if project not in self._incidents:
            said = self._troubles.get(project, {})
            folded = [incident_of(key, _ascending(said[key])) for key in sorted(said)]
            self._incidents[project] = [one for one in folded if one is not None]
        return History(
            endings=_ascending(self._endings.get(service, {})),
            marks=self._marks.get(service, {}),
            pushes=self._ordered[project][0],
            positions=self._ordered[project][1],
            incidents=[one for one in self._incidents[project] if service in one.rollouts],
            burn_ends=sorted(one.at for one in self._signals.get(service, {}).values()),
        )


def _ascending(found: dict[int, Numbered]) -> list[Numbered]:
    return [found[n] for n in sorted(found)]


def _first_of_each(pushes: list[Push]) -> list[Push]:
    """A head that was told of again was pushed the first time."""
    return list({push.head: push for push in reversed(pushes)}.values())[::-1]
