"""What people asked for against a gate that holds: each kind, and each state that a wish may be in."""

from __future__ import annotations

from datetime import UTC, datetime

from poise.web.permit_views import (
    Approval,
    ApprovalsView,
    OfferView,
    PermitKind,
    PermitRow,
    PermitState,
    PermitsView,
)

KEY = "acme/production/storefront"
DAY_S = 86_400.0
WAITS, IN_FORCE, EXPIRED = PermitState.WAITS, PermitState.IN_FORCE, PermitState.EXPIRED


def _at(day: int, hour: int, minute: int) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def permits(held: bool = False) -> PermitsView:
    """An override that has expired; where it is held: every wish, and two that wait for the reader."""
    allows = (
        "Granted, a change of this class goes slowly: at most 4 % of the traffic at first, in steps of "
        "2 %, 5 %, 10 %, 25 %, 50 %; each step bakes 2 times as long. A canary is judged all the same, and "
        "when it expires the policy decides again."
    )
    kinds = {
        PermitKind.APPROVAL: DAY_S, PermitKind.EXEMPTION: 28 * DAY_S, PermitKind.RULING: DAY_S,
        PermitKind.OVERRIDE: DAY_S,
    }  # fmt: skip
    offers = tuple(
        OfferView(kind=kind, allows=allows, decides="It waits for ben, carl to agree.", most_s=most_s)
        for kind, most_s in kinds.items()
    )
    old = PermitRow(
        kind=PermitKind.OVERRIDE, n=3, state=EXPIRED, by="ben", reason="legal text must be live by noon",
        at=_at(20, 22, 30), expires_at=_at(20, 23, 30), decided_by="carl", decided_at=_at(20, 22, 41),
    )  # fmt: skip
    wish = PermitRow(
        kind=PermitKind.RULING, n=5, state=WAITS, by="ben", reason="the fair opens", at=_at(28, 9, 2),
        expires_at=_at(29, 9, 2), allows=allows, may_decide=True, told="ana was paged at 28 Nov 09:17 UTC.",
    )  # fmt: skip
    more = PermitRow(
        kind=PermitKind.OVERRIDE, n=4, state=WAITS, by="ben", reason="the fair opens", at=_at(28, 9, 1),
        expires_at=_at(28, 13, 1), of_release=True, allows=allows, may_decide=True,
    )  # fmt: skip
    given = PermitRow(
        kind=PermitKind.EXEMPTION, n=4, state=IN_FORCE, by="ben", reason="a network fault; carl: so it was",
        at=_at(21, 8, 0), expires_at=_at(29, 8, 0), decided_by="carl", decided_at=_at(21, 8, 9),
        cause="network",
    )  # fmt: skip
    why = ("availability's budget is spent (-7 % is left)",)
    if not held:
        return PermitsView(key=KEY, why=why, offers=offers[-1:], rows=(old,), once="3.4")
    looked = Approval(by="carl", at=_at(28, 9, 5), reason="looked at the diff")
    door = ApprovalsView(required=2, given=(looked,), left=("ana", "eve"))
    return PermitsView(
        key=KEY, why=why, offers=offers, rows=(wish, more, given, old), once="4.5", approvals=door
    )
