"""What will be left of a budget: what is known to leave the window, and days like those before.

Of a rolling window it is known which failures leave it, hour by hour. What comes instead is drawn from the
objective's own recent hours, a day in one piece (so that a bad hour stays beside the bad hours that came with
it), as large as traffic is now. A burn that goes on is drawn apart: it lasts as long again as it has lasted
with one chance in two, and so on (its remaining life r is longer than x with the chance e / (e + x), e its
age). The draws are a fixed stream made from the counts themselves: the same counts give the same forecast.

**Source:** Künsch, The jackknife and the bootstrap for general stationary observations (Ann. Statist. 17,
1989) for whole blocks; Hyndman and Fan, Sample quantiles in statistical packages (Am. Stat. 50, 1996), type
6, for the ends of an interval out of few days; Gott (Nature 363, 1993) for the remaining life.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOURS_A_DAY: Final = 24
DAYS_MIN: Final = 3  # fewer days before make no forecast
DRAWS: Final = 400
COVER: Final = 0.8  # of an interval
GROWTH_MAX: Final = 8.0  # by how much one day's traffic may differ from the day before


class History(Struct, frozen=True, kw_only=True):
    """Counted events by the hour, oldest first, the last one ending now; ``known`` (0..1) of each hour.

    ``window_hours`` is the budget's period; with ``resets_in_hours`` it is a calendar's: nothing leaves it,
    and it begins anew then.
    """

    total: Floats
    bad: Floats
    known: Floats
    target_ratio: float
    window_hours: int
    resets_in_hours: int | None = None


class Burning(Struct, frozen=True, kw_only=True):
    """A burn that goes on: its ratio of failures and its age."""

    ratio: float
    age_hours: float


class Forecast(Struct, frozen=True, kw_only=True):
    """Ratios of the budget (0..1, below 0 overspent) at the horizon's end: middle, and 80 % lie between.

    ``spent_chance`` is the chance (0..1) that it is spent at any time within the horizon, with its own 80 %
    interval; ``days`` how many days it was drawn from.
    """

    horizon_hours: int
    left_low: float
    left_middle: float
    left_high: float
    spent_chance: float
    spent_chance_low: float
    spent_chance_high: float
    days: int


class Return(Struct, frozen=True, kw_only=True):
    """In how many hours a spent budget is back above a level: middle, and 80 % lie between.

    ``latest`` is None where it is not within a whole window in more than a tenth of the draws.
    """

    earliest: float
    middle: float
    latest: float | None


def forecast(history: History, horizon_hours: int, burning: Burning | None = None) -> Forecast | None:
    """The budget over the next hours; None where fewer than ``DAYS_MIN`` days are known."""
    days = _days(history)
    if days < DAYS_MIN:
        return None
    left = _left(history, horizon_hours, burning)
    low, middle, high = (_quantile(left[:, -1], share, days) for share in _ends())
    chance = float((left.min(axis=1) <= 0.0).mean())
    chance_low, chance_high = _wilson(chance, days)
    return Forecast(
        horizon_hours=horizon_hours, left_low=low, left_middle=middle, left_high=high, spent_chance=chance,
        spent_chance_low=chance_low, spent_chance_high=chance_high, days=days,
    )  # fmt: skip


def returns(history: History, above: float, burning: Burning | None = None) -> Return | None:
    """When what is left rises above the ratio ``above``; None where it is, or nothing can be said."""
    if _days(history) < DAYS_MIN or _left_now(history) > above:
        return None
    hours = history.window_hours if history.resets_in_hours is None else history.resets_in_hours + 1
    left = _left(history, hours, burning)
    back = left > above
    after = np.where(back.any(axis=1), back.argmax(axis=1) + 1.0, math.inf)
    early, middle, late = (float(np.quantile(after, share, method="higher")) for share in _ends())
    if math.isinf(middle):
        return None
    return Return(earliest=early, middle=middle, latest=None if math.isinf(late) else late)


def _ends() -> tuple[float, float, float]:
    return (1 - COVER) / 2, 0.5, (1 + COVER) / 2


def _left(history: History, hours: int, burning: Burning | None) -> Floats:
    """What is left at the end of each hour (columns) of each draw (rows)."""
    total, bad = _drawn(history, hours)
    if burning is not None:
        bad = np.minimum(total, bad + total * burning.ratio * _lasts(history, burning, hours))
    new_total, new_bad = np.cumsum(total, axis=1), np.cumsum(bad, axis=1)
    kept_total, kept_bad = (_kept(one, history, hours) for one in (history.total, history.bad))
    if history.resets_in_hours is not None:
        for new in (new_total, new_bad):
            at = max(0, history.resets_in_hours)
            new[:, at:] -= new[:, at - 1 : at] if at else 0.0
    events, lost = kept_total + new_total, kept_bad + new_bad
    allowed = (1.0 - history.target_ratio) * np.maximum(events, _expected(history))
    made: Floats = 1.0 - lost / np.maximum(allowed, 1e-9)
    return np.where(lost <= 0.0, 1.0, made)


def _left_now(history: History) -> float:
    size = min(len(history.bad), history.window_hours)
    lost, events = history.bad[-size:].sum(), history.total[-size:].sum()
    allowed = (1.0 - history.target_ratio) * max(events, _expected(history))
    return 1.0 - float(lost / allowed) if lost > 0 and allowed > 0 else 1.0 - float(lost > 0)


def _expected(history: History) -> float:
    """The events of a whole window, as the budget of a young objective or month projects them."""
    size = len(history.total)
    if size >= history.window_hours and history.resets_in_hours is None:
        return 0.0
    return float(history.total.sum()) * history.window_hours / max(1, size)


def _kept(counts: Floats, history: History, hours: int) -> Floats:
    """What of the past still lies in the window at the end of each coming hour."""
    if history.resets_in_hours is not None:
        stays = np.arange(1, hours + 1) <= history.resets_in_hours
        return np.where(stays, counts.sum(), 0.0)
    past = np.concatenate([[0.0], np.cumsum(counts)])
    first = np.clip(len(counts) - history.window_hours + np.arange(1, hours + 1), 0, len(counts))
    made: Floats = past[-1] - past[first]
    return made


def _drawn(history: History, hours: int) -> tuple[Floats, Floats]:
    """(total, bad) of each draw (rows) and coming hour (columns): whole past days, at today's traffic."""
    past_total, past_bad = history.total, history.bad
    begins = _begins(history)
    day = np.arange(HOURS_A_DAY)
    total, bad = [], []
    running = np.full(DRAWS, past_total[-HOURS_A_DAY:].sum())
    for block in range(-(-hours // HOURS_A_DAY)):
        chosen = begins[(_stream(history, block) * len(begins)).astype(np.int64)]
        before = np.add.reduce(past_total[chosen[:, None] - HOURS_A_DAY + day], axis=1)
        scale = (running / np.maximum(before, 1.0))[:, None]
        total.append(past_total[chosen[:, None] + day] * scale)
        bad.append(past_bad[chosen[:, None] + day] * scale)
        grown = total[-1].sum(axis=1)
        running = np.clip(grown, running / GROWTH_MAX, running * GROWTH_MAX)
    made = [np.concatenate(one, axis=1)[:, :hours] for one in (total, bad)]
    return made[0], made[1]


def _begins(history: History) -> NDArray[np.int64]:
    """Where a whole day that was measured begins, with a whole day before it."""
    size = len(history.total)
    known = np.concatenate([[0.0], np.cumsum(history.known)])
    begins = np.arange(HOURS_A_DAY, size - HOURS_A_DAY + 1)
    share = (known[begins + HOURS_A_DAY] - known[begins - HOURS_A_DAY]) / (2 * HOURS_A_DAY)
    good = begins[share >= 0.5]
    return good if len(good) else begins


def _days(history: History) -> int:
    """Whole days from which can be drawn."""
    return int(min(history.known.sum(), len(history.total) - HOURS_A_DAY) // HOURS_A_DAY)


def _lasts(history: History, burning: Burning, hours: int) -> Floats:
    """The share (0..1) of each coming hour in which a burn still goes on, by draw."""
    chance = _stream(history, -1)[:, None]
    remains = burning.age_hours * chance / np.maximum(1.0 - chance, 1e-9)
    return np.clip(remains - np.arange(hours), 0.0, 1.0)


def _stream(history: History, block: int) -> Floats:
    """DRAWS numbers, evenly over 0..1 in an order that depends on the counts and the block alone.

    Source: splitmix64, Steele, Lea and Flood (OOPSLA 2014).
    """
    parts = np.concatenate([history.total[-HOURS_A_DAY:], history.bad[-HOURS_A_DAY:]]).view(np.uint64)
    seed = np.uint64(int(np.bitwise_xor.reduce(parts * np.uint64(0x9E3779B97F4A7C15))))
    counter = seed + np.uint64(((block + 2) << 32) & 0xFFFFFFFFFFFFFFFF) + np.arange(DRAWS, dtype=np.uint64)
    mixed = counter * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    order = np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")
    made: Floats = (order + 0.5) / DRAWS
    return made


def _quantile(values: Floats, share: float, days: int) -> float:
    """The quantile for a new value, out of so many independent days: further out than the sample's own."""
    wanted = (share * (days + 1) - 0.5) / days
    return float(np.quantile(values, min(1.0, max(0.0, wanted))))


def _wilson(chance: float, count: int) -> tuple[float, float]:
    """An 80 % interval of a ratio out of so many. Source: Wilson, J. Am. Stat. Assoc. 22 (1927)."""
    z = 1.2816
    middle = (chance + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(chance * (1 - chance) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, middle - half), min(1.0, middle + half)
