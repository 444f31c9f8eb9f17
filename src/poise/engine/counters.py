"""Counters and buckets of a metrics store become totals as they stand: each series' newest sample.

Every value comes with its own instant, so that one which a store merely holds on to is seen to be old. No
series or only old samples is no reading. The one exception: failures of which there is no series yet are
none, where their selector plainly matches some of the series of a total that is fresh. Good events of a
histogram are a sum of its buckets by weights.

While a source answers with the same series as before, what its numbers mean is known: a whole answer becomes
rows in a few strides over arrays.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Final, NamedTuple, Self

import anyio.to_thread
import numpy as np
from msgspec import Struct

from poise.engine.asking import Asked, Regex, Samples, Sorting
from poise.engine.pages import Looked, Numbers, Pages, Places, dated, named, text_of, too_many_groups
from poise.model.counting import QUERIED, selectors
from poise.model.measuring import within
from poise.model.objective import IndicatorKind, Objective
from poise.model.samples import NAME, Labels
from poise.model.signal import Series
from poise.ports.signals import SignalStore
from poise.ports.totals import Totals
from poise.spec.counter import counter

_counter = lru_cache(maxsize=2 * 10_000)(counter)
Answers = Sequence[tuple[Sorting, Samples]]
Found = Mapping[Labels, int]  # a selector's series, and where the newest sample of each is


class Total(NamedTuple):
    """One total of an objective: samples by weights."""

    name: tuple[str, str, str]  # role, group, series
    places: tuple[int, int]
    weights: tuple[float, float] = (1.0, 0.0)


class Read(Struct, frozen=True, kw_only=True):
    """What an objective is read from: its samples and the totals made of them, or the problem."""

    samples: Sequence[int] = ()
    totals: Sequence[Total] = ()
    interpolated: bool = False
    problem: str = ""


class _Plan(Struct, frozen=True, eq=False, kw_only=True):
    """What the numbers of answers with these series mean. ``problems`` are by key, of those left out."""

    answered: Sequence[object]
    samples: Places  # by objective,
    starts: Places  # of which each begins here
    places: Places  # [totals, 2]
    weights: Numbers  # [totals, 2]
    problems: Mapping[str, str]


class Counters:
    """One source's counters. Not for two looks at once."""

    period_s: Final = 15.0  # as often as most counters are scraped

    def __init__(self, place: str, objectives: Sequence[Objective], regex: Regex) -> None:
        self._objectives = objectives
        self._asked = Asked((text for one in objectives for text in texts_of(one).values()), regex)
        self._pages = Pages(f"{QUERIED}{place}/")
        self._plan: _Plan | None = None
        self._series: dict[str, tuple[list[tuple[str, str, str]], tuple[Series, ...]]] = {}
        self.interpolated: frozenset[str] = frozenset()

    @staticmethod
    def source_of(objective: Objective) -> str | None:
        """Where its counters are asked for; None where it has none."""
        asked = objective.queries if objective.indicator is IndicatorKind.QUERY else objective.histogram
        return None if asked is None else asked.source

    @classmethod
    async def begin(cls, place: str, objectives: Sequence[Objective], regex: Regex, _: Totals) -> Self:
        """Of ``project/source``; counters themselves tell where they stand."""
        return await anyio.to_thread.run_sync(cls, place, objectives, regex)

    async def look(self, signals: SignalStore, now: datetime, stale_after_s: float) -> Looked:
        """Ask; what was answered is sorted apart from the loop."""
        answers, faults = await self._asked.answers(signals, now, lambda _: stale_after_s)
        return await anyio.to_thread.run_sync(partial(self._sorted, answers, faults, now, stale_after_s))

    def _sorted(
        self, answers: Answers, faults: Mapping[str, str], now: datetime, stale_after_s: float
    ) -> Looked:
        newest = [one.newest() for _, one in answers]
        at_s = np.concatenate([np.empty(0), *(one.at_s for one in newest)])
        values = np.concatenate([np.empty(0), *(one.values for one in newest)])
        answered = [part for one in newest for part in (one.series, one.row.tobytes())]
        plan, fresh_s = self._plan, now.timestamp() - stale_after_s
        if (
            plan is None
            or faults or plan.problems
            or plan.answered != answered
            or (np.maximum.reduceat(at_s[plan.samples], plan.starts) < fresh_s).any()
        ):  # fmt: skip
            found = _found([one for one, _ in answers], newest)
            plan = self._plan = self._planned(found, answered, at_s, faults, now, stale_after_s)
        totals = (values[plan.places] * plan.weights).sum(axis=1)
        instants = np.maximum.reduceat(at_s[plan.samples], plan.starts) if len(plan.starts) else np.empty(0)
        rows = dated(self._pages.rows(instants[None], totals[None]), 1, now)
        return Looked(
            rows=rows, problems={one.key: plan.problems.get(one.key, "") for one in self._objectives}
        )

    def _planned(
        self,
        found: Mapping[str, Found],
        answered: Sequence[object],
        at_s: Numbers,
        faults: Mapping[str, str],
        now: datetime,
        stale_after_s: float,
    ) -> _Plan:
        """Lay the pages out for what was read, and say what is wrong with the rest."""
        read: list[tuple[Objective, Read]] = []
        problems: dict[str, str] = {}
        for one in self._objectives:
            fault = next((faults[text] for text in texts_of(one).values() if text in faults), "")
            made = Read(problem=fault) if fault else read_of(one, found, at_s, now, stale_after_s)
            if made.problem:
                problems[one.key] = made.problem
            else:
                read.append((one, made))
        self._pages.lay(
            [(one, self._series_of(one, [total.name for total in made.totals])) for one, made in read]
        )
        still = self.interpolated & problems.keys()  # what cannot be read now was read so
        self.interpolated = still | {one.key for one, made in read if made.interpolated}
        totals = [total for _, made in read for total in made.totals]
        return _Plan(
            answered=answered,
            samples=np.array([place for _, made in read for place in made.samples], dtype=np.intp),
            starts=np.cumsum([0, *(len(made.samples) for _, made in read)], dtype=np.intp)[:-1],
            places=np.array([one.places for one in totals], dtype=np.intp).reshape(-1, 2),
            weights=np.array([one.weights for one in totals], dtype=np.float64).reshape(-1, 2),
            problems=problems,
        )

    def _series_of(self, objective: Objective, names: list[tuple[str, str, str]]) -> tuple[Series, ...]:
        """The same objects while it has the same totals."""
        known = self._series.get(objective.key)
        if known is None or known[0] != names:
            known = self._series[objective.key] = (names, named(objective, names))
        return known[1]


def whole_of(role: str, texts: Mapping[str, str]) -> str:
    """The role of which ``role`` plainly is a part, so that no series of it means none of its events.

    Empty where it is a part of nothing: then its silence means that nobody knows.
    """
    whole = "total" if "total" in texts else "good" if role == "bad" else "bad"
    if role == whole:
        return ""
    mine, other = _counter(texts[role]), _counter(texts[whole])
    is_part = mine.is_within(other) if whole == "total" else mine.metric == other.metric
    return whole if is_part else ""


def texts_of(objective: Objective) -> dict[str, str]:
    """By role the selectors that are asked for; buckets are asked for whole."""
    if objective.histogram is not None:
        return {"total": objective.histogram.query.strip()}
    return selectors(objective)


def _found(sortings: Sequence[Sorting], newest: Sequence[Samples]) -> dict[str, dict[Labels, int]]:
    """By selector, ascending by labels."""
    found: dict[str, dict[Labels, int]] = {}
    first = 0
    for sorting, one in zip(sortings, newest, strict=True):
        found |= {text: {} for text in sorting.question.texts}
        for labels, place in sorted((one.series[row], first + n) for n, row in enumerate(one.row.tolist())):
            for text in sorting.selectors(labels):
                found[text][labels] = place
        first += len(one.row)
    return found


def read_of(
    objective: Objective, found: Mapping[str, Found], at_s: Numbers, now: datetime, stale_after_s: float
) -> Read:
    """A reading out of each selector's samples, or why there is none."""
    texts = texts_of(objective)
    mine = {role: found.get(text, {}) for role, text in texts.items()}
    for role, text in texts.items():
        if not mine[role] and not mine.get(whole_of(role, texts)):
            return Read(problem=f"{text} ({role}) has no sample within {stale_after_s:g} s")
    places = [place for one in mine.values() for place in one.values()]
    age_s = now.timestamp() - float(at_s[places].max())
    if age_s > stale_after_s:
        return Read(problem=f"its newest sample is {age_s:.0f} s old")
    if objective.histogram is not None:
        return _buckets(objective, objective.histogram.bound, mine["total"])
    totals = [
        Total((role, objective.group_of(labels), text_of(labels)), (place, place))
        for role, one in mine.items()
        for labels, place in one.items()
    ]
    return Read(samples=places, totals=totals)


def _buckets(objective: Objective, bound: float, found: Found) -> Read:
    """Good and all events of each histogram out of its buckets."""
    by_series: dict[tuple[str, str], dict[float, int]] = defaultdict(dict)
    for labels, place in found.items():
        rest = tuple(pair for pair in labels if pair[0] not in ("le", NAME))
        edge = bound_of(labels)
        if edge is not None:
            by_series[objective.group_of(labels), text_of(rest)][edge] = place
    if len({group for group, _ in by_series}) > objective.groups_max:
        return Read(problem=too_many_groups(objective))
    totals: list[Total] = []
    interpolated = False
    for (group, series), buckets in by_series.items():
        counted = within(buckets, bound)
        if counted is None:
            continue
        name = f"{series} le {','.join(f'{edge:g}' for edge in sorted(buckets))}"
        all_ = buckets[math.inf]
        parts = [*((buckets[edge], weight) for edge, weight in counted[0].items()), (all_, 0.0), (all_, 0.0)]
        (low, low_weight), (high, high_weight) = parts[:2]
        totals.append(Total(("good", group, name), (low, high), (low_weight, high_weight)))
        totals.append(Total(("total", group, name), (all_, all_)))
        interpolated = interpolated or counted[1]
    if not totals:
        return Read(problem=f'{texts_of(objective)["total"]} has no bucket with le="+Inf"')
    return Read(samples=[*found.values()], totals=totals, interpolated=interpolated)


def bound_of(labels: Labels) -> float | None:
    """The upper bound of a bucket by its labels; None where it tells none."""
    try:
        return float(dict(labels).get("le", ""))
    except ValueError:
        return None
