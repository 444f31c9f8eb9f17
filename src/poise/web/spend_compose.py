"""What the budgets of services were spent on and how they move, for the overview and the service page."""

from __future__ import annotations

from typing import Final

from poise.api.parts import Parts
from poise.model.balance import Budget
from poise.model.spend import Outlook, SpendCause, SpendLedger, of_budget
from poise.model.standing import MIN_FAILURES
from poise.web import links, service_views
from poise.web.wording import percent, utc

SPENDERS: Final = 8
TREND_WINDOW_S: Final = 21_600.0
STEADY_RATIO: Final = 0.001  # of the budget in that time: less is no trend


async def spenders(parts: Parts, service: str) -> tuple[service_views.SpendRow, ...]:
    """What cost most of the budgets of a service, the dearest first."""
    found_ledgers, _ = await parts.store.scan(SpendLedger, f"{service}/")
    budgets = {one.key: one for one in (await parts.store.scan(Budget, f"{service}/"))[0]}
    ledgers = [of_budget(one, budgets.get(one.key)) for one in found_ledgers]
    found = [
        (one.bad / ledger.allowed, one, ledger)
        for ledger in ledgers
        if ledger.allowed > 0
        for one in ledger.entries
    ]
    found.sort(key=lambda row: (row[0], row[1].since), reverse=True)
    return tuple(
        service_views.SpendRow(
            spent_ratio=share,
            label=one.name or one.cause.value,
            summary=f"of {ledger.objective}" + (f" · {one.cause.value}" if one.name else ""),
            requests=round(one.bad),
            at=one.since,
            duration_s=None if one.until is None else (one.until - one.since).total_seconds(),
            followed=one.why,
            href=links.evidence(f"{_kind(one.cause)}/{one.subject}", "") if one.subject else "",
        )
        for share, one, ledger in found[:SPENDERS]
    )


def _kind(cause: SpendCause) -> str:
    return "Incident" if cause is SpendCause.INCIDENT else "Rollout"


async def burns(parts: Parts) -> dict[str, str]:
    """By service: the burn that pages now, in one sentence."""
    found, _ = await parts.store.scan(Outlook)
    return {
        one.service: (
            f"{one.objective} burns{one.burn.where} {one.burn.burn_rate:,.1f}× too fast "
            f"since {utc(one.burn.since)} UTC: "
            f"{percent(one.burn.spent_ratio, 1)} of its budget."
        )
        for one in found
        if one.burn is not None and one.burn.pages
    }


def trend(budget: Budget | None) -> str:
    """What the last six hours took of a budget: ``-3.1 % in 6 h``, or steady; empty where nobody knows."""
    burn = next((one for one in budget.burns if one.window_s == TREND_WINDOW_S), None) if budget else None
    if budget is None or burn is None or burn.rate is None or budget.allowed <= 0:
        return ""
    share = burn.bad / budget.allowed
    if share < STEADY_RATIO or burn.bad < MIN_FAILURES:
        return "steady"
    return f"-{percent(share, 1)} in 6 h"
