"""What pages tell of overrides and grants: what may be asked for, what waits, what was decided."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class PermitKind(StrEnum):
    """What may be asked for."""

    OVERRIDE = "override"
    APPROVAL = "approval"
    EXEMPTION = "exemption"
    RULING = "ruling"


class PermitState(StrEnum):
    """What became of a wish."""

    WAITS = "waits"
    IN_FORCE = "in force"
    REFUSED = "refused"
    EXPIRED = "expired"
    UNSIGNED = "not signed here"  # somebody edited the store: it grants nothing


class OfferView(Struct, frozen=True, kw_only=True):
    """A wish that would help.

    ``allows`` and ``decides`` are sentences: what the gate would then say, and who grants it.
    """

    kind: PermitKind
    allows: str
    decides: str
    most_s: float


class PermitRow(Struct, frozen=True, kw_only=True):
    """One override or grant: who asked, why, until when; who decided, when.

    ``allows`` says what granting it would bring, where it waits; ``may_decide``: the reader may.
    ``told`` says who was paged about it and whether they have seen it.
    """

    kind: PermitKind
    n: int
    state: PermitState
    by: str
    reason: str
    at: datetime
    expires_at: datetime
    decided_by: str = ""
    decided_at: datetime | None = None
    alone: bool = False
    cause: str = ""
    of_release: bool = False  # of one digest alone
    allows: str = ""
    may_decide: bool = False
    told: str = ""


class Approval(Struct, frozen=True, kw_only=True):
    """One person's approval of a release: when and why."""

    by: str
    at: datetime
    reason: str


class ApprovalsView(Struct, frozen=True, kw_only=True):
    """How far the approvals of a release are: those given, how many are wanted, and who may give another."""

    required: int
    given: tuple[Approval, ...] = ()
    left: tuple[str, ...] = ()


class PermitsView(Struct, frozen=True, kw_only=True):
    """Of one service; ``digest`` and ``rollout`` where it is about one rollout.

    ``why`` are the verdict's reasons; ``rows`` are the newest first, those that wait before all others.
    """

    key: str
    why: tuple[str, ...] = ()
    offers: tuple[OfferView, ...] = ()
    rows: tuple[PermitRow, ...] = ()
    digest: str = ""
    rollout: int | None = None
    once: str = ""
    approvals: ApprovalsView | None = None  # where a release needs any to come here
