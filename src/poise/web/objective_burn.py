"""How fast a budget burns: each window beside the policy's tiers, the sequential tests, the forecast."""

from __future__ import annotations

import htpy as h

from poise.model.balance import Budget, Burn
from poise.model.policy import AlertTier, BurnTier
from poise.model.spend import BurnNow, Foresight
from poise.model.standing import MIN_FAILURES, fires
from poise.web import objective_derived
from poise.web.objective_views import ObjectiveView
from poise.web.parts import card, pill, table
from poise.web.why import why
from poise.web.wording import duration, moment, percent, times

TEST_WORDS = {
    "outage": "hardly anything succeeds",
    "fast": "fast burn",
    "slow": "slow burn",
    "trickle": "slow leak",
}


def burn_card(view: ObjectiveView) -> h.Element:
    """The sequential tests' word, then every window."""
    return card("How fast it burns", _detected(view), _windows(view), _tiers(view), id="burn")


def _detected(view: ObjectiveView) -> h.Node:
    outlook = view.outlook
    if view.objective.is_derived:
        return h.p(".mute")["The sequential tests look at its components, whose burns are what burns it."]
    if outlook is None:
        return h.p(".mute")["The sequential tests have not looked yet: they need the first minute of counts."]
    if outlook.burn is None:
        told = _unburned(view, outlook.real_chance)
        inputs = (("looked at", moment(outlook.at, "second")), ("failed in the window", _count(outlook.bad)))
        return h.div(".told")[h.p[told], why("no burn", _TESTS, inputs, view.queries)]
    return _burning(view, outlook.burn)


_TESTS = (
    "Four sequential tests read the counts of every minute: each adds up how much likelier the failures are "
    "under a burn than at a bearable pace, caps what one minute can add, and speaks once enough evidence, "
    "failures and spend have come together. Where the sum last left zero is the likeliest start."
)


def _burning(view: ObjectiveView, burn: BurnNow) -> h.Node:
    what = TEST_WORDS.get(burn.test, burn.test)
    inputs = (
        ("test", f"{burn.test} ({what}); {'pages somebody' if burn.pages else 'waits for office hours'}"),
        ("failed since the start", f"{_count(burn.bad)} of {_count(burn.events)}"),
        ("budget in events", _count(view.outlook.allowed if view.outlook else None)),
        ("spent since the start", percent(burn.spent_ratio, 1)),
    )
    return h.div(".told")[
        h.p[
            pill("burning", "hold" if burn.pages else "slow"),
            "since ",
            moment(burn.since),
            f"{burn.where}: {what}, {times(burn.burn_rate)} what the budget can bear. "
            f"{percent(burn.spent_ratio, 1)} of the budget went since. "
            f"{_sure(burn.real_chance)} likely real.",
        ],
        why("this burn", _TESTS, inputs, view.queries),
    ]


def _sure(chance: float) -> str:
    """A chance near one is never said to be certain."""
    return "More than 99.9 %" if chance > 0.999 else percent(chance, 1)


def _unburned(view: ObjectiveView, chance: float) -> str:
    """What the tests say before they see a burn; a tier may be over already."""
    over = view.budget is not None and any(_over(view.budget, one) for one in _alerting(view))
    if over:
        return (
            "A tier below is over. The sequential tests ask for more evidence: "
            f"by them {_likely(chance)} likely so far."
        )
    return f"The sequential tests see no burn: {_likely(chance)} likely that one has begun."


def _likely(chance: float) -> str:
    return "less than 0.1 %" if chance < 0.001 else percent(chance, 1)


def _windows(view: ObjectiveView) -> h.Node:
    burns = view.budget.burns if view.budget else ()
    if not burns:
        return h.p(".mute")["No window is measured yet."]
    rows = [
        (
            _span(one.window_s),
            times(one.rate),
            _count(one.bad),
            _count(one.events),
            percent(one.coverage_ratio, 0),
            _why_burn(view, one),
        )
        for one in sorted(burns, key=lambda burn: burn.window_s)
    ]
    head = ("window", "burn", "failed", "of", "measured", "why")
    return table("Burn of each window", head, rows, "lrrrrl")


def _why_burn(view: ObjectiveView, one: Burn) -> h.Element:
    about = f"burn over {_span(one.window_s)}"
    if view.objective.is_derived:
        return why(about, objective_derived.BURN_RULE, (("burn", times(one.rate)),))
    return why(about, _BURN, _inputs(one, 1 - view.objective.target_ratio), view.queries)


_BURN = (
    "Failed over all events of the window, divided by the share that may fail. 1× lasts exactly the window."
)


def _inputs(one: Burn, allowed: float) -> tuple[tuple[str, h.Node], ...]:
    ratio = one.bad / one.events if one.events > 0 else None
    return (("failed", percent(ratio)), ("may fail", percent(allowed)), ("burn", times(one.rate)))


def _tiers(view: ObjectiveView) -> h.Node:
    tiers = _alerting(view)
    if not tiers or view.budget is None:
        return None
    by_window = {one.window_s: one for one in view.budget.burns}
    title = "Tiers of its own" if view.objective.alerts else "Tiers that page"
    return h.fragment[
        h.h3[title],
        table(
            title,
            ("both windows over", "long", "short", "now", "why"),
            [_tier(view, one, by_window) for one in tiers],
            "lrrll",
        ),
    ]


def _alerting(view: ObjectiveView) -> tuple[BurnTier, ...]:
    """The objective's own tiers, or those of the policy that page."""
    return view.objective.alerts.tiers if view.objective.alerts else view.policy.fast_burn


def _over(budget: Budget, one: BurnTier) -> bool:
    return fires(one, budget.burns, failures_min=_least(budget))


def _least(budget: Budget) -> float:
    return (budget.alerts and budget.alerts.failures_min) or MIN_FAILURES


def _tier(view: ObjectiveView, one: BurnTier, burns: dict[float, Burn]) -> tuple[h.Node, ...]:
    long, short = burns.get(one.long_s), burns.get(one.short_s)
    fired = view.budget is not None and _over(view.budget, one)
    least = MIN_FAILURES if view.budget is None else _least(view.budget)
    known = long is not None and long.rate is not None and short is not None and short.rate is not None
    word = pill("over", "hold") if fired else "below" if known else "not known"
    name = f"{one.factor:g}× in {_span(one.long_s)} and {_span(one.short_s)}"
    rule = f"Both windows burn over {one.factor:g}×, and at least {least:g} failed in the long one."
    if isinstance(one, AlertTier):
        held = f" for {_span(one.hold_s)}" if one.hold_s else ""
        name = f"{name}{held}: {one.severity.value}"
    inputs = tuple(
        (f"burn over {_span(window_s)}", times(burn.rate if burn else None))
        for window_s, burn in ((one.long_s, long), (one.short_s, short))
    )
    return (
        name,
        times(long.rate if long else None),
        times(short.rate if short else None),
        word,
        why(f"tier {name}", rule, (*inputs, ("failed in the long one", _count(long.bad if long else None)))),
    )


def forecast_card(view: ObjectiveView) -> h.Element:
    """What will be left, how likely it is to be spent, and of a frozen service when it may go on."""
    if view.objective.is_derived:
        told = "It is foreseen where it is counted: with its components."
        return objective_derived.elsewhere(view, "Forecast", told, "forecast")
    ahead = view.outlook.foresight if view.outlook else None
    content = _unforeseen(view) if ahead is None else _foreseen(view, ahead)
    return card("Forecast", content, id="forecast")


def _unforeseen(view: ObjectiveView) -> h.Node:
    back = view.budget.recovers_at if view.budget else None
    return h.fragment[
        h.p(".mute")["It needs three days of counts. Until then the pace of the last hours is all there is."],
        back is not None and h.p["Without new failures something is left again on ", moment(back), "."],
    ]


def _foreseen(view: ObjectiveView, ahead: Foresight) -> h.Node:
    rule = (
        "Failures that are known to leave the window, plus days drawn from those before, as large as traffic "
        "is now; a burn that goes on is drawn apart. 80 % of 400 draws lie in the interval."
    )
    inputs: list[tuple[str, h.Node]] = [
        ("days drawn from", f"{ahead.days}"),
        ("made at", moment(ahead.at)),
        ("spent", f"{_count(view.outlook.bad if view.outlook else None)} events"),
        ("budget", f"{_count(view.outlook.allowed if view.outlook else None)} events"),
    ]
    rows: list[tuple[str, h.Node]] = [
        (
            f"left in {duration((ahead.until - ahead.at).total_seconds())}",
            [h.strong[percent(ahead.left_middle, 0)], f" ({_between(ahead.left_low, ahead.left_high)})"],
        ),
        (
            "spent before",
            [
                h.strong[percent(ahead.spent_chance, 0)],
                f" likely ({_between(ahead.spent_chance_low, ahead.spent_chance_high)})",
            ],
        ),
    ]
    if ahead.returns_at is not None:
        rows.append(("unfreezes", _return(ahead)))
    return h.fragment[
        h.dl[((h.dt[name], h.dd[value]) for name, value in rows)],
        h.p(".mute")["In brackets: 8 of 10 outcomes."],
        why("forecast", rule, inputs, view.queries),
    ]


def _return(ahead: Foresight) -> h.Node:
    if ahead.returns_earliest is None:
        return moment(ahead.returns_at)
    latest: h.Node = moment(ahead.returns_latest) if ahead.returns_latest else "not within the window"
    return [h.strong[moment(ahead.returns_at)], " (", moment(ahead.returns_earliest), " to ", latest, ")"]


def _between(low: float, high: float) -> str:
    return f"{percent(low, 0)} to {percent(high, 0)}"


def _span(seconds: float) -> str:
    """A window as people say it: ``3 d``, never ``3 d 0 h``."""
    return duration(seconds)


def _count(value: float | None) -> str:
    return (
        "–"
        if value is None
        else f"{value:,.0f}"
        if value >= 100 or value == round(value)
        else f"{value:,.1f}"
    )
