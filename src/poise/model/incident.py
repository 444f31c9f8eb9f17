"""Alert, incident, page, diagnosis: trouble, who is told, and what broke it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

from poise.model.oncall import Contact


class Severity(StrEnum):
    """How bad: SEV1 users suffer now, SEV2 they soon will, SEV3 look at it in working hours (not paged)."""

    SEV1 = "sev1"
    SEV2 = "sev2"
    SEV3 = "sev3"

    @property
    def pages(self) -> bool:
        """Whether somebody is woken."""
        return self is not Severity.SEV3


class AlertState(StrEnum):
    """Whether the condition holds."""

    FIRING = "firing"
    RESOLVED = "resolved"


class AlertSource(StrEnum):
    """Who saw it."""

    BURN = "burn"  # an objective's budget burns too fast
    PROBE = "probe"  # replicas fail their probes, or none is ready
    SIGNAL = "signal"  # a signal that should be there is missing
    HEALING = "healing"  # a mass failure, or a crash loop
    CERTIFICATE = "certificate"  # that of its host is about to expire
    TRAFFIC = "traffic"  # Envoy does not take the split that is asked for
    ALERTMANAGER = "alertmanager"
    CDEVENTS = "cdevents"
    RULE = "rule"  # an alerting rule of the project


class Alert(Struct, frozen=True, kw_only=True):
    """One condition of one service; key ``project/environment/service/name``.

    Poise's own are written by detection; those of other systems (``name`` starts with the source and a
    colon: ``alertmanager:<fingerprint>``) by the webhook face, those of the project's alerting rules
    (``rule:<fingerprint>``) by reliability's rules. ``started_at`` is the onset: when the
    condition began, not when it was seen; ``seen_at`` is when this firing was first seen. ``numbers``
    re-derive it. A later firing of the same condition is the same object with ``count`` raised.
    ``clear_since`` is since when the condition of a firing alert is known not to hold.
    """

    service: str
    name: str
    source: AlertSource
    severity: Severity
    state: AlertState = AlertState.FIRING
    summary: str
    numbers: dict[str, Any] = {}
    labels: dict[str, str] = {}
    started_at: datetime
    seen_at: datetime
    ended_at: datetime | None = None
    count: int = 1
    clear_since: datetime | None = None

    @property
    def key(self) -> str:
        """``project/environment/service/name``."""
        return f"{self.service}/{self.name}"


class AlertGroup(Struct, frozen=True, kw_only=True):
    """All alerts of one service as one, while they matter. Written by incident.

    Key ``project/environment/service/group``; ``service`` ends in ``-`` when no service is known, and then
    ``group`` says what the alerts have in common. Alerts first seen after ``after`` count. ``firing``,
    ``count`` (distinct), ``severity`` (worst), ``onset_at`` and ``fired_at`` (newest) sum them up, ``newest``
    are keys. ``incident`` is the number of the one that they are part of; None while it waits to open.
    """

    service: str
    group: str = ""
    incident: int | None = None
    after: datetime | None = None
    seen_at: datetime
    onset_at: datetime
    fired_at: datetime
    firing: int = 0
    count: int = 0
    severity: Severity
    title: str = ""
    newest: tuple[str, ...] = ()
    only_signals: bool = False

    @property
    def key(self) -> str:
        """``project/environment/service/group``."""
        return f"{self.service}/{self.group}"


class IncidentState(StrEnum):
    """Acknowledge, mitigate, resolve. A merged incident lives on in another."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    MERGED = "merged"

    @property
    def is_final(self) -> bool:
        """Whether it needs nobody any more."""
        return self in (IncidentState.RESOLVED, IncidentState.MERGED)


class Incident(Struct, frozen=True, kw_only=True):
    """One cause of trouble; key ``project/n``. Written by incident.

    ``service`` is the deepest service in the dependencies that alerts: where the cause shows; ``services``
    all that do. ``alerts`` are keys of the newest alerts folded in, ``alert_count`` how many distinct ones
    there were. ``onset_at`` is the earliest start of an alert. ``rollouts`` maps each service to the rollout
    that was live at the onset: the explicit link to what was deployed. ``cleared_at`` is since when no
    alert of it fires. ``declared_by`` is the person who opened it by hand.
    """

    project: str
    environment: str
    n: int
    title: str
    state: IncidentState = IncidentState.OPEN
    severity: Severity
    service: str
    services: tuple[str, ...]
    alerts: tuple[str, ...] = ()
    alert_count: int = 0
    rollouts: dict[str, int] = {}
    onset_at: datetime
    opened_at: datetime
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    mitigated_at: datetime | None = None
    cleared_at: datetime | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    merged_into: int | None = None
    declared_by: str | None = None
    orders_seen: int = 0

    @property
    def key(self) -> str:
        """``project/n``, zero-padded."""
        return f"{self.project}/{self.n:06d}"


class IncidentVerb(StrEnum):
    """What a person may say in an incident."""

    ACKNOWLEDGE = "acknowledge"
    MITIGATE = "mitigate"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    NOTE = "note"
    SEVERITY = "severity"  # text: the new severity
    MERGE = "merge"  # text: the number of the incident it is part of


class IncidentOrder(Struct, frozen=True, kw_only=True):
    """A person's word in an incident; key ``project/incident/k``. Written by the API, read by incident."""

    incident: str
    k: int
    verb: IncidentVerb
    by: str
    text: str = ""
    at: datetime

    @property
    def key(self) -> str:
        """``project/incident/k``, zero-padded."""
        return f"{self.incident}/{self.k:06d}"


class Escalation(Struct, frozen=True, kw_only=True):
    """How far the paging of an incident is; key as the incident's. Written by paging.

    ``step`` and ``round`` are the present place in the policy; ``due_at`` when the next step is taken if
    nobody acknowledges; ``pages`` how many were asked for since the incident opened; ``severity`` what the
    paging began at; ``problem`` says why nobody could be paged; ``closed``: those who were paged were told
    that it is resolved.
    """

    incident: str
    policy: str
    step: int = 0
    round: int = 0
    pages: int = 0
    due_at: datetime | None = None
    ended: bool = False
    problem: str = ""
    severity: Severity | None = None
    closed: bool = False


class Summons(Struct, frozen=True, kw_only=True):
    """How far a dispute that stays open has been told; key as the dispute's (a Grant). Written by paging.

    ``told`` are the people who were paged, in order, each once: the next one only where nothing reached the
    one before. ``problem`` says why nobody could be paged; then it is looked at again at ``due_at``.
    """

    dispute: str
    told: tuple[str, ...] = ()
    pages: int = 0
    due_at: datetime | None = None
    ended: bool = False
    problem: str = ""
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None


class Page(Struct, frozen=True, kw_only=True):
    """One message to one contact about one incident; key ``project/incident/k``. Written by paging.

    The key is also its Message-ID and Idempotency-Key: at least once, at most one duplicate per crash.
    ``closing``: it says that the incident is resolved. ``problem`` is set once it was given up. One about a
    dispute has its key as ``dispute`` and no incident; then the key is ``project/dispute/...``.
    """

    incident: str
    k: int
    person: str
    contact: Contact
    step: int
    round: int
    asked_at: datetime
    sent_at: datetime | None = None
    attempts: int = 0
    problem: str = ""
    closing: bool = False
    dispute: str = ""

    @property
    def key(self) -> str:
        """``project/incident/k`` or ``project/dispute/environment/service/n/k``, zero-padded."""
        return f"{pages_of(self.dispute) if self.dispute else self.incident}/{self.k:06d}"

    @property
    def about(self) -> str:
        """The key of the incident or of the dispute."""
        return self.dispute or self.incident


def pages_of(dispute: str) -> str:
    """Under which key the pages of a dispute are kept: no incident's, which have a number there."""
    project, _, rest = dispute.partition("/")
    return f"{project}/dispute/{rest}"


class SuspectKind(StrEnum):
    """What may have caused it."""

    DEPLOY = "deploy"
    CONFIG = "config"
    SCALE = "scale"
    DEPENDENCY = "dependency"  # a declared dependency that fails by itself
    EXTERNAL = "external"  # a change that another system reported


class Evidence(Struct, frozen=True, kw_only=True):
    """One reason to suspect or to clear: a rule's name, a sentence, its numbers, the events behind it."""

    rule: str
    text: str
    numbers: dict[str, Any] = {}
    events: tuple[int, ...] = ()


class Suspect(Struct, frozen=True, kw_only=True):
    """A change or a dependency, with how strongly it is suspected (0..1) and why.

    ``subject`` is the key of a rollout, a scale target or a service; ``incident`` of the diagnosis applies.
    """

    kind: SuspectKind
    subject: str
    summary: str
    at: datetime | None
    score: float
    evidence: tuple[Evidence, ...]


class Diagnosis(Struct, frozen=True, kw_only=True):
    """What broke it, ranked; key as the incident's. Written by cause.

    ``explained`` False says that no change explains it; ``cleared`` are the changes that were looked at and
    why each is not suspected. ``unusual`` tells what was unusual around the onset.
    """

    incident: str
    at: datetime
    onset_at: datetime
    explained: bool
    sentence: str
    suspects: tuple[Suspect, ...] = ()
    cleared: tuple[Suspect, ...] = ()
    unusual: tuple[Evidence, ...] = ()

    @property
    def key(self) -> str:
        """The incident's key."""
        return self.incident
