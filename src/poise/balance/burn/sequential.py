"""Is a burn going on, since when, and is it real? Four sequential tests over counts by the minute.

Each test is a CUSUM of the log-likelihood ratio of two failure ratios, *low* (which the budget can bear for a
while) against *high*: it falls while events are good, is held at zero, and rises with each bad one. Where it
left zero for the last time is the likeliest start of the burn. Three guards make it fit for a pager:

- one minute's evidence is capped (winsorised), so that a blip, however bad, is never enough alone;
- enough must have been spent since the start: so many events, and a share of the budget (at the traffic since
  the start or of the period, whichever is less, so that a night's burn counts as a day's);
- the outage test takes a ratio of 30 % as its *low*: two minutes in which hardly anything succeeds.

A burn is over when the counts since say so against the ratio that it had, never for want of counts. All of it
is incremental: the state is a few numbers for each objective, and the same counts give the same verdict.

**Source:** Page, Continuous inspection schemes (Biometrika 41, 1954); Lorden (Ann. Math. Stat. 42, 1971) for
its optimality; Huber, A robust version of the probability ratio test (Ann. Math. Stat. 36, 1965) for the cap.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

MINUTE_S: Final = 60.0
FAILURES_MIN: Final = 4.0  # fewer bad events are no burn, whatever their ratio
OVER_AT: Final = 4.0  # evidence (log-likelihood ratio) that a burn is over: 55 to 1
OVER_MINUTES: Final = 2  # one good minute is not the end
BORN_PER_PERIOD: Final = 1.0  # real burns that an objective is expected to have in a period
OUTAGE_LOW: Final = 0.3
OUTAGE_HIGH: Final = 0.9


class Test(Struct, frozen=True, kw_only=True):
    """One test: burn rates ``low`` against ``high``, the evidence ``threshold``, its guards.

    ``minute_cap`` is the most evidence that one minute may add; ``spent_ratio`` (0..1) is the least share of
    the budget. ``pages`` tells whether somebody is woken, or the burn waits for office hours. An
    ``is_outage`` test compares ratios of failures, not burn rates.
    """

    name: str
    low: float
    high: float
    threshold: float
    minute_cap: float
    spent_ratio: float
    pages: bool = True
    is_outage: bool = False


TESTS: Final = (
    Test(name="outage", low=OUTAGE_LOW, high=OUTAGE_HIGH, threshold=4.0, minute_cap=2.0, spent_ratio=0.0,
         is_outage=True),
    Test(name="fast", low=2.0, high=14.4, threshold=5.0, minute_cap=1.65, spent_ratio=0.01),
    Test(name="slow", low=1.5, high=6.0, threshold=8.0, minute_cap=1.6, spent_ratio=0.02),
    Test(name="trickle", low=1.0, high=3.0, threshold=10.0, minute_cap=1.1, spent_ratio=0.05, pages=False),
)  # fmt: skip


class Weights(Struct, frozen=True, kw_only=True):
    """What one event is worth, by test (rows) and objective (columns)."""

    bad: Floats
    good: Floats
    low: Floats  # the failure ratio that each test takes for usual
    cap: Floats  # the most that one minute may add
    decay: Floats  # of the chance that a healthy objective reaches an evidence, by unit of evidence
    allowed_ratio: Floats  # (columns) 1 - target


class State(Struct, frozen=True, kw_only=True):
    """Where the tests stand: arrays by test (rows) and objective (columns), or by objective alone.

    ``since`` is the start (seconds) of the excursion of each test; ``bad`` and ``total`` count from there.
    ``firing`` is the place of the worst test that has fired, -1 without one, and the burn's own ``onset``,
    counts and evidence that it is over follow it.
    """

    evidence: Floats
    since: Floats
    bad: Floats
    total: Floats
    firing: NDArray[np.int64]
    onset: Floats
    burn_bad: Floats
    burn_total: Floats
    over: Floats
    over_since: Floats
    after_bad: Floats
    after_total: Floats


def hazard(ratio: Floats, factor: float) -> Floats:
    """The failure ratio at ``factor`` times the burn that ``ratio`` allows; below 1 for every factor."""
    made: Floats = -np.expm1(factor * np.log1p(-ratio))
    return made


def weights(targets: Floats, tests: tuple[Test, ...] = TESTS) -> Weights:
    """What events are worth for objectives with these target ratios (0..1, below 1)."""
    allowed = np.clip(1.0 - np.asarray(targets, dtype=np.float64), 1e-9, 1.0 - 1e-9)
    low, high = (np.empty((len(tests), len(allowed))) for _ in range(2))
    for row, test in enumerate(tests):
        if test.is_outage:  # a target so low that 30 % is no fault needs more
            low[row] = np.maximum(test.low, hazard(allowed, 2.0))
            high[row] = 1.0 - (1.0 - low[row]) * (1.0 - test.high) / (1.0 - test.low)
        else:
            low[row], high[row] = hazard(allowed, test.low), hazard(allowed, test.high)
    low, high = np.minimum(low, 1 - 1e-6), np.minimum(high, 1 - 1e-9)  # a target of 1 % still has a test
    bad, good = np.log(high / low), np.log1p(-high) - np.log1p(-low)
    cap = np.array([[test.minute_cap] for test in tests]) * np.ones_like(bad)
    return Weights(
        bad=bad, good=good, low=low, cap=cap, decay=_decay(allowed, bad, good), allowed_ratio=allowed
    )


def _decay(allowed: Floats, bad: Floats, good: Floats) -> Floats:
    """The root above zero of E[exp(r x one event's evidence)] = 1 at a burn rate of 1, by bisection.

    The chance that an excursion of a healthy objective ever reaches the evidence s is at most exp(-r x s).
    **Source:** Wald's identity; Siegmund, Sequential Analysis (1985), chapter 2.
    """
    low, high = np.full_like(bad, 1e-3), np.full_like(bad, 50.0)
    for _ in range(60):
        middle = (low + high) / 2
        over = allowed * np.exp(middle * bad) + (1 - allowed) * np.exp(middle * good) > 1.0
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return low


def fresh(count: int, at: float, tests: tuple[Test, ...] = TESTS) -> State:
    """Nothing is known of ``count`` objectives yet."""
    shape = (len(tests), count)
    return State(
        evidence=np.zeros(shape), since=np.full(shape, at), bad=np.zeros(shape), total=np.zeros(shape),
        firing=np.full(count, -1), onset=np.full(count, at), burn_bad=np.zeros(count),
        burn_total=np.zeros(count), over=np.zeros(count), over_since=np.full(count, at),
        after_bad=np.zeros(count), after_total=np.zeros(count),
    )  # fmt: skip


def advance(
    state: State,
    worth: Weights,
    total: Floats,
    bad: Floats,
    *,
    at: float,
    period_allowed: Floats,
    period_s: Floats,
    looks: Floats | float = 0.0,
    looks_failed: Floats | float = 0.0,
    minutes: Floats | float = 1.0,
    tests: tuple[Test, ...] = TESTS,
) -> State:
    """The state after one more minute, ending at ``at`` (UTC epoch seconds): O(tests x objectives).

    ``total`` and ``bad`` are the events of each objective in it, zero where nothing was measured;
    ``looks`` and ``looks_failed`` what its probes saw. ``period_allowed`` are the bad events that the
    period's budget allows, ``period_s`` its length. ``minutes`` is how many the counts are of, where one
    reading covers several.
    """
    heard, failed = _heard(total, bad, looks, looks_failed, tests)
    gain = np.minimum(failed * worth.bad + (heard - failed) * worth.good, worth.cap * minutes)
    evidence = state.evidence + gain
    rests = evidence <= 0.0
    moved = structs.replace(
        state,
        evidence=np.where(rests, 0.0, evidence),
        since=np.where(rests, at, state.since),
        bad=np.where(rests, 0.0, state.bad + failed),
        total=np.where(rests, 0.0, state.total + heard),
    )
    fired = reached(moved, worth, at=at, period_allowed=period_allowed, period_s=period_s, tests=tests)
    if not (fired.any() or (state.firing >= 0).any()):
        return moved
    seen, lost = total + looks, bad + looks_failed
    return _begun(_followed(moved, worth, seen, lost, at, minutes), fired, at)


def advance_all(
    state: State,
    worth: Weights,
    total: Floats,
    bad: Floats,
    *,
    at: Floats,
    period_allowed: Floats,
    period_s: Floats,
    looks: Floats,
    looks_failed: Floats,
    tests: tuple[Test, ...] = TESTS,
) -> State:
    """As ``advance`` minute after minute, bit for bit: rows of ``total``, ``bad`` and looks end at ``at``.

    A minute in which nothing at all happened changes nothing. While nobody's evidence is enough to burn, a
    minute costs a few additions in place: a day is looked through again in some ten milliseconds.
    """
    heard, failed = _heard(total[:, None], bad[:, None], looks[:, None], looks_failed[:, None], tests)
    gain = np.minimum(failed * worth.bad + (heard - failed) * worth.good, worth.cap)
    threshold = np.array([[test.threshold] for test in tests])
    minutes = np.flatnonzero(total.any(axis=1)).tolist()
    calm: State | None = None  # a copy that is changed in place
    for minute in minutes:
        if calm is None and not (state.firing >= 0).any():
            calm = structs.replace(
                state,
                evidence=state.evidence.copy(), since=state.since.copy(),
                bad=state.bad.copy(), total=state.total.copy(),
            )  # fmt: skip
        if calm is not None and not (calm.evidence + gain[minute] >= threshold).any():
            _grow(calm, gain[minute], heard[minute], failed[minute], float(at[minute]))
            continue
        state = advance(
            calm or state, worth, total[minute], bad[minute], at=float(at[minute]),
            period_allowed=period_allowed, period_s=period_s, looks=looks[minute],
            looks_failed=looks_failed[minute], tests=tests,
        )  # fmt: skip
        calm = None
    return calm or state


def _grow(state: State, gain: Floats, heard: Floats, failed: Floats, at: float) -> None:
    """A minute in which no test has enough, added in place."""
    for sums, more in ((state.evidence, gain), (state.bad, failed), (state.total, heard)):
        np.add(sums, more, out=sums)
    rests = state.evidence <= 0.0
    for sums in (state.evidence, state.bad, state.total):
        np.copyto(sums, 0.0, where=rests)
    np.copyto(state.since, at, where=rests)


def reached(
    state: State,
    worth: Weights,
    *,
    at: float,
    period_allowed: Floats,
    period_s: Floats,
    tests: tuple[Test, ...] = TESTS,
) -> Flags:
    """Which tests (rows) say that an objective (columns) burns: evidence, failures and spend suffice."""
    threshold = np.array([[test.threshold] for test in tests])
    enough = (state.evidence >= threshold) & (state.bad >= FAILURES_MIN)
    if not enough.any():
        return enough
    share = np.array([[test.spent_ratio] for test in tests])
    lasted_s = np.maximum(at - state.since, MINUTE_S)
    alike = worth.allowed_ratio * state.total * period_s / lasted_s  # if all of the period were as since then
    made: Flags = enough & (state.bad >= share * np.minimum(period_allowed, alike))
    return made


def chance_real(state: State, worth: Weights, period_allowed: Floats) -> Floats:
    """How likely it is (0..1) that each objective burns, after what its best test has seen.

    Of the excursions that a healthy objective begins in a period (one for each bad event that it may have),
    a share of at most exp(-decay x evidence) gets so far in each test, and any of the tests may be the best;
    real burns are expected ``BORN_PER_PERIOD`` times.
    Blips are not in this model; the caps and the guards are for them.
    """
    by_chance = len(state.evidence) * np.maximum(1.0, period_allowed) * np.exp(-worth.decay * state.evidence)
    made: Floats = (BORN_PER_PERIOD / (BORN_PER_PERIOD + by_chance)).max(axis=0)
    return made


def _heard(
    total: Floats, bad: Floats, looks: Floats | float, looks_failed: Floats | float, tests: tuple[Test, ...]
) -> tuple[Floats, Floats]:
    """The trials and failures of each test: what probes saw is evidence of an outage, not a spend."""
    joins = np.array([[1.0 if test.is_outage else 0.0] for test in tests])
    return total + joins * looks, bad + joins * looks_failed


def _followed(
    state: State, worth: Weights, seen: Floats, lost: Floats, at: float, minutes: Floats | float
) -> State:
    """Whether burns that go on are over: the counts since, against the ratio that each burn had."""
    burning = state.firing >= 0
    usual = hazard(worth.allowed_ratio, 1.5)
    ratio = state.burn_bad / np.maximum(state.burn_total, 1.0)
    ratio = np.clip(ratio, np.minimum(2 * usual, (1 + usual) / 2), 1 - 1e-3)
    gain = lost * np.log(usual / ratio) + (seen - lost) * np.log((1 - usual) / (1 - ratio))
    over = np.where(burning, state.over + np.minimum(gain, OVER_AT / OVER_MINUTES * minutes), 0.0)
    on = burning & (over <= 0.0)
    ended = burning & (over >= OVER_AT)
    after_bad, after_total = state.after_bad + lost, state.after_total + seen
    return structs.replace(
        state,
        evidence=np.where(ended, 0.0, state.evidence),
        since=np.where(ended, at, state.since),
        bad=np.where(ended, 0.0, state.bad),
        total=np.where(ended, 0.0, state.total),
        firing=np.where(ended, -1, state.firing),
        burn_bad=np.where(on, state.burn_bad + after_bad, state.burn_bad),
        burn_total=np.where(on, state.burn_total + after_total, state.burn_total),
        over=np.where(ended, 0.0, np.maximum(over, 0.0)),
        over_since=np.where(on, at, state.over_since),
        after_bad=np.where(burning & ~on & ~ended, after_bad, 0.0),
        after_total=np.where(burning & ~on & ~ended, after_total, 0.0),
    )


def _begun(state: State, fired: Flags, at: float) -> State:
    """Burns that are new, and those that a worse test has joined: the first start stands."""
    ended = state.evidence.max(axis=0) <= 0.0
    fired = fired & ~ended
    worst = np.where(fired.any(axis=0), fired.argmax(axis=0), len(fired))
    new = (state.firing < 0) & (worst < len(fired))
    place, column = np.minimum(worst, len(fired) - 1), np.arange(len(worst))
    return structs.replace(
        state,
        firing=np.where(new, place, np.where(state.firing >= 0, np.minimum(state.firing, worst), -1)),
        onset=np.where(new, state.since[place, column], state.onset),
        burn_bad=np.where(new, state.bad[place, column], state.burn_bad),
        burn_total=np.where(new, state.total[place, column], state.burn_total),
        over_since=np.where(new, at, state.over_since),
    )
