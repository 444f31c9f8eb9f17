"""The input of the pages of incidents and post-mortems: frozen plain data, as in ``views``."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.incident import IncidentState, IncidentVerb, Severity
from poise.model.review import Action, ReviewState
from poise.web.views import Chart, Chrome

INCIDENTS_SHOWN = 100
"""Incidents on one page of the list."""

ENTRIES_SHOWN = 100
"""Lines of one page of a timeline."""

KINDS = (
    "alert", "burn", "deploy", "config", "verdict", "heal", "scale", "drift", "incident", "page", "note",
    "cause", "review",
)  # fmt: skip
"""What a line of a timeline may be."""


class IncidentRow(Struct, frozen=True, kw_only=True):
    """An incident in a list; ``service`` is project/environment/service; ``ended_at`` None: it goes on."""

    project: str
    n: int
    title: str
    state: IncidentState
    severity: Severity
    service: str
    onset_at: datetime
    ended_at: datetime | None = None
    acknowledged_by: str = ""
    merged_into: int | None = None


class IncidentsView(Struct, frozen=True, kw_only=True):
    """Incidents of a project, those that need somebody first. ``open_count`` counts all that are open."""

    chrome: Chrome
    project: str
    rows: tuple[IncidentRow, ...] = ()
    open_count: int = 0
    next_href: str = ""


class ProofRow(Struct, frozen=True, kw_only=True):
    """A sentence of evidence, and the events behind it as (label, href)."""

    text: str
    links: tuple[tuple[str, str], ...] = ()


class SuspectRow(Struct, frozen=True, kw_only=True):
    """What may have caused it; ``rollback`` is the service that a revert would be asked of, or empty."""

    kind: str
    summary: str
    score: float
    at: datetime | None = None
    href: str = ""
    proofs: tuple[ProofRow, ...] = ()
    rollback: str = ""


class PageRow(Struct, frozen=True, kw_only=True):
    """A message to a person. ``address`` is shortened; ``problem`` says why it was given up."""

    person: str
    way: str
    address: str
    asked_at: datetime
    sent_at: datetime | None = None
    attempts: int = 0
    problem: str = ""
    closing: bool = False


class ImpactRow(Struct, frozen=True, kw_only=True):
    """What it cost of one objective's budget; ``spent_ratio`` of the period's, None when not known."""

    objective: str
    href: str
    left_ratio: float | None = None
    spent_ratio: float | None = None


class EntryRow(Struct, frozen=True, kw_only=True):
    """A line of the timeline."""

    sequence: int
    at: datetime
    kind: str
    sentence: str
    actor: str = "poise"
    href: str = ""
    event_href: str = ""


class IncidentPageView(Struct, frozen=True, kw_only=True):
    """One incident; ``verbs`` are what may be said of it now by this reader."""

    chrome: Chrome
    project: str
    n: int
    title: str
    sentence: str
    state: IncidentState
    severity: Severity
    service: str
    services: tuple[str, ...] = ()
    onset_at: datetime
    opened_at: datetime
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    mitigated_at: datetime | None = None
    resolved_at: datetime | None = None
    merged_into: int | None = None
    verbs: tuple[IncidentVerb, ...] = ()
    diagnosis: str = ""
    explained: bool = False
    unusual: tuple[str, ...] = ()
    suspects: tuple[SuspectRow, ...] = ()
    cleared: tuple[SuspectRow, ...] = ()
    pages: tuple[PageRow, ...] = ()
    paging_problem: str = ""
    next_page_at: datetime | None = None
    failed_requests: float | None = None
    all_requests: float | None = None
    impacts: tuple[ImpactRow, ...] = ()
    chart: Chart | None = None
    entries: tuple[EntryRow, ...] = ()
    kind: str = ""
    cursor: int = 0
    earlier_href: str = ""
    review_href: str = ""


class ReviewPageView(Struct, frozen=True, kw_only=True):
    """A post-mortem. ``text`` is Markdown; ``draft`` is a text that is being tried, not saved yet.

    ``etag`` is what saving must match. ``times`` are (word, seconds from the onset).
    """

    chrome: Chrome
    project: str
    n: int
    title: str
    state: ReviewState
    edited: bool = False
    text: str
    draft: str | None = None
    message: str = ""
    etag: str = ""
    times: tuple[tuple[str, float | None], ...] = ()
    failed_requests: float | None = None
    budget_spent_ratio: float | None = None
    sentences: int = 0
    actions: tuple[Action, ...] = ()
    published_at: datetime | None = None
    published_by: str = ""
    may_publish: bool = False


class NoReviewView(Struct, frozen=True, kw_only=True):
    """There is no review yet, and why."""

    chrome: Chrome
    project: str
    n: int
    title: str
    state: IncidentState


class EventView(Struct, frozen=True, kw_only=True):
    """One event of the journal with all it holds; ``data`` are (name, value) as text."""

    chrome: Chrome
    sequence: int
    at: datetime
    type: str
    subject: str
    summary: str
    actor: str
    href: str = ""
    data: tuple[tuple[str, str], ...] = ()
    hash: str = ""
    previous_hash: str = ""
