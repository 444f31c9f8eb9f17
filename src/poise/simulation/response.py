"""What must hold of incidents, pages and reviews, worked out apart from the rooms that write them."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from poise.model.grant import Grant, GrantKind
from poise.model.incident import Alert, AlertState, Incident, IncidentState, Page
from poise.model.oncall import EscalationPolicy
from poise.model.review import Review
from poise.model.service import Project, Service
from poise.ports.store import IntentState
from poise.simulation.book import Book

SLACK_S: Final = 700.0  # a dead control process, its lease, a clock set back, a wake-up lost until the resync
SENT_WITHIN_S: Final = 600.0 + SLACK_S  # a page is sent or given up
PAGES: Final = "page/"


class Response:
    """Holds paging, incident and review to their promises."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._open: dict[str, float] = {}  # incidents that page, and since when (true time)
        self._paged: dict[str, float] = {}  # incident -> when its newest page was asked for
        self._unsent: dict[str, float] = {}  # pages asked for and neither sent nor given up
        self._over: dict[str, float] = {}  # resolved incidents without a review
        self._apart: dict[tuple[str, str], float] = {}  # incidents that look like one
        self._disputes: dict[str, float] = {}  # disputes that nobody has decided, and since when
        self._summoned: dict[str, list[Page]] = {}  # dispute -> the pages about it
        self._told: dict[str, dict[str, int]] = {}  # page -> control process -> deliveries not excused

    def incident(self, key: str, before: Struct | None) -> None:
        """An incident was written."""
        incident, t = self._one(key), self._book.t
        if incident.state is IncidentState.OPEN and incident.severity.pages:
            self._open.setdefault(key, t)
        else:
            self._open.pop(key, None)
        if incident.state is IncidentState.RESOLVED:
            if self._book.one(Review, key) is None:
                self._over.setdefault(key, t)
        else:
            self._over.pop(key, None)
        if isinstance(before, Incident) and before.state is IncidentState.MERGED is not incident.state:
            self._book.breach("final-is-final", f"incident {key} was merged and is {incident.state}")

    def grant(self, key: str, _before: Struct | None) -> None:
        """Something was asked for or decided."""
        grant = self._book.one(Grant, key)
        assert grant is not None
        if grant.kind is GrantKind.RULING and grant.allowed is None:
            self._disputes.setdefault(key, self._book.t)
        else:
            self._disputes.pop(key, None)

    def page(self, key: str, before: Struct | None) -> None:
        """A page was asked for, tried, sent or given up."""
        page = self._book.one(Page, key)
        assert page is not None
        if before is None:
            self._unsent[key] = self._book.t
            if page.dispute:
                self._summons(page)
            elif not page.closing:
                self._paged[page.incident] = self._book.t
        if page.sent_at is not None or page.problem:
            self._unsent.pop(key, None)
        if page.sent_at is not None and key not in self._told:
            self._book.breach("no-page-lost", f"{key} is said to be sent, and nobody was told")

    def _summons(self, page: Page) -> None:
        """Each person once, and the next one only where nothing reached the one before."""
        known = [self._book.one(Page, one.key) or one for one in self._summoned.get(page.dispute, [])]
        twice = any((one.person, one.contact) == (page.person, page.contact) for one in known)
        reached = any(one.person != page.person and not one.problem for one in known)
        if twice or reached:
            self._book.breach("a-dispute-is-told-once", f"{page.person} is paged for {page.dispute}, again")
        self._summoned.setdefault(page.dispute, []).append(page)

    def review(self, key: str, _before: Struct | None) -> None:
        """A review was written."""
        review = self._book.one(Review, key)
        assert review is not None
        self._over.pop(key, None)
        for sentence in review.sentences:
            wrong = [one for one in sentence.evidence if not self._is_there(one)]
            if wrong or not sentence.evidence:
                said = f"{key} says '{sentence.text}' by {sentence.evidence}, of which {wrong} are nowhere"
                self._book.breach("each-sentence-has-evidence", said)

    def settled(self, key: str, state: IntentState) -> None:
        """An intent to send a page ended: only what nobody needs any more may be dropped."""
        if not key.startswith(PAGES):
            return
        page = self._book.one(Page, key.removeprefix(PAGES))
        if page is None:
            return
        if state in (IntentState.DROPPED, IntentState.FAILED):
            incident = self._book.one(Incident, page.incident)
            opened = incident is not None and incident.state is IncidentState.OPEN and incident.severity.pages
            resolved = incident is not None and incident.state is IncidentState.RESOLVED
            self._unsent.pop(page.key, None)
            if resolved if page.closing else opened:
                self._book.breach("no-page-lost", f"{page.key} is {state.value} though somebody should know")

    def delivered(self, page_key: str, life: str, excused: bool) -> None:
        """A receiver got a message. ``excused``: it then told the sender that it had not."""
        page = self._book.one(Page, page_key)
        if page is None:
            self._book.breach("a-page-keeps-its-id", f"a receiver got {page_key}, which is no page")
            return
        if page.sent_at is not None:
            self._book.breach("one-duplicate-per-crash", f"{page_key} is sent, and is sent again")
        lives = self._told.setdefault(page_key, {})
        lives[life] = lives.get(life, 0) + (not excused)
        if lives[life] > 1:
            self._book.breach("one-duplicate-per-crash", f"{page_key} came {lives[life]} times from {life}")

    def look(self) -> None:
        """What must not last: called at each reading."""
        t = self._book.t
        for key, since in self._open.items():
            last = max(since, self._paged.get(key, 0.0))
            patience_s = self._patience_s(key)
            if t - last > patience_s + SLACK_S:
                said = f"{key} is open since {since:.0f} s, and was last paged at {self._paged.get(key)} s"
                self._book.breach("every-incident-is-escalated", said)
        for key, since in self._unsent.items():
            if t - since > SENT_WITHIN_S:
                self._book.breach("no-page-lost", f"{key} was asked for at {since:.0f} s and is not sent")
        for key, since in self._over.items():
            if t - since > SLACK_S:
                self._book.breach("each-incident-is-reviewed", f"{key} is over since {since:.0f} s")
        for key, since in self._disputes.items():
            grant = self._book.one(Grant, key)
            wait_s = self._escalates_after_s(key) + SLACK_S
            lasts_s = (grant.expires_at - grant.at).total_seconds() if grant else 0.0
            if wait_s < t - since < lasts_s and key not in self._summoned:
                self._book.breach("every-dispute-is-told", f"{key} is open since {since:.0f} s")
        self._together(t)

    def _escalates_after_s(self, key: str) -> float:
        project = self._book.one(Project, key.partition("/")[0])
        return project.policy.escalate_after_s if project else 0.0

    def _patience_s(self, key: str) -> float:
        project = key.partition("/")[0]
        policies = self._book.all(EscalationPolicy, f"{project}/")
        return max((max(step.wait_s for step in one.steps) for one in policies), default=0.0) and max(
            max(one.remind_s, *(step.wait_s for step in one.steps)) for one in policies
        )

    def _together(self, t: float) -> None:
        """No two incidents are open for what fires together in connected services."""
        keys = [key for key, one in self._standing().items() if one]
        found = {(a, b) for a in keys for b in keys if a < b and self._are_one(self._one(a), self._one(b))}
        self._apart = {pair: self._apart.get(pair, t) for pair in found}
        for pair, since in self._apart.items():
            if t - since > SLACK_S:
                self._book.breach("one-page-per-cause", f"{pair} are of one cause, and open apart")

    def _standing(self) -> dict[str, bool]:
        rows = self._book.objects.get("Incident", {})
        return {key: isinstance(one, Incident) and not one.state.is_final for key, one in rows.items()}

    def _are_one(self, one: Incident, other: Incident) -> bool:
        if (one.project, one.environment) != (other.project, other.environment):
            return False
        project = self._book.one(Project, one.project)
        window_s = project.alerts.group_window_s if project else 0.0
        return any(
            self._connected(a.service, b.service) and _gap_s(a, b) <= window_s
            for a in self._firing(one)
            for b in self._firing(other)
        )

    def _firing(self, incident: Incident) -> list[Alert]:
        alerts = [self._book.one(Alert, key) for key in incident.alerts]
        return [one for one in alerts if one is not None and one.state is AlertState.FIRING]

    def _connected(self, one: str, other: str) -> bool:
        if one == other:
            return True
        for service, needed in ((one, other), (other, one)):
            declared = self._book.one(Service, service)
            if declared is not None and needed.rpartition("/")[2] in declared.depends_on:
                return True
        return False

    def _is_there(self, evidence: str) -> bool:
        kind, _, key = evidence.partition("/")
        if kind == "event":
            return 1 <= int(key) <= self._book.events
        return key in self._book.objects.get(kind, {})

    def _one(self, key: str) -> Incident:
        found = self._book.one(Incident, key)
        assert found is not None
        return found


def _gap_s(one: Alert, other: Alert) -> float:
    later, sooner = max(one.started_at, other.started_at), min(one.seen_at, other.seen_at)
    return max(0.0, (later - sooner).total_seconds())
