"""Review: what an incident taught, with evidence for every sentence, and what will be done."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class ReviewState(StrEnum):
    """A draft is the record's; people make it theirs and publish it."""

    DRAFT = "draft"
    PUBLISHED = "published"


class Section(StrEnum):
    """The parts of a post-mortem, in order. Source: SRE book, appendix D (example post-mortem)."""

    SUMMARY = "summary"
    IMPACT = "impact"
    TRIGGER = "trigger"
    CAUSES = "causes"
    DETECTION = "detection"
    RESPONSE = "response"
    RESOLUTION = "resolution"
    BUDGET = "budget"
    TIMELINE = "timeline"


class Sentence(Struct, frozen=True, kw_only=True):
    """One sentence of a draft with the ids of its evidence: ``event/<sequence>`` or ``<Kind>/<key>``."""

    section: Section
    text: str
    evidence: tuple[str, ...]


class ActionKind(StrEnum):
    """What an action is for. Source: SRE book, appendix D."""

    PREVENT = "prevent"
    MITIGATE = "mitigate"
    DETECT = "detect"
    PROCESS = "process"


class Priority(StrEnum):
    """How soon; p0 goes before any feature. Source: SRE workbook, appendix B (error budget policy)."""

    P0 = "p0"
    P1 = "p1"
    P2 = "p2"


class Action(Struct, frozen=True, kw_only=True):
    """Something that will be done: by whom, until when, and how one will know that it worked."""

    n: int
    kind: ActionKind
    text: str
    owner: str
    due_at: datetime
    verification: str
    priority: Priority = Priority.P2
    done_at: datetime | None = None
    done_by: str | None = None

    def is_overdue(self, now: datetime) -> bool:
        """Whether it should have been done and is not."""
        return self.done_at is None and self.due_at < now


class Review(Struct, frozen=True, kw_only=True):
    """A post-mortem; key as its incident's. Written by review.

    ``text`` is Markdown: the draft made from ``sentences``, or what people made of it. Times are seconds from
    the onset (``ttd_s`` to detect, ``tta_s`` to acknowledge, ``ttm_s`` to mitigate, ``ttr_s`` to resolve),
    None where it never happened. ``outage_class`` is what kind of trouble it was, in the team's words; empty
    until somebody says. ``failed_requests`` and ``budget_spent_ratio`` (of the period's budget, of
    the worst objective) are the impact; None where nothing was measured.
    """

    incident: str
    title: str
    state: ReviewState = ReviewState.DRAFT
    services: tuple[str, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    text: str
    edited: bool = False
    ttd_s: float | None = None
    tta_s: float | None = None
    ttm_s: float | None = None
    ttr_s: float | None = None
    failed_requests: float | None = None
    budget_spent_ratio: float | None = None
    actions: tuple[Action, ...] = ()
    edits_seen: int = 0
    drafted_at: datetime
    published_at: datetime | None = None
    published_by: str | None = None
    outage_class: str = ""

    @property
    def key(self) -> str:
        """The incident's key."""
        return self.incident


class ReviewEdit(Struct, frozen=True, kw_only=True):
    """What a person changed in a review; key ``project/incident/k``. Written by the API, read by review.

    Exactly one of the optional fields is set: a new text, an action added or replaced (by its ``n``; 0 adds),
    the number of an action that is done, the class of outage, or publication.
    """

    incident: str
    k: int
    by: str
    at: datetime
    text: str | None = None
    action: Action | None = None
    done: int | None = None
    outage_class: str | None = None
    publish: bool = False

    @property
    def key(self) -> str:
        """``project/incident/k``, zero-padded."""
        return f"{self.incident}/{self.k:06d}"
