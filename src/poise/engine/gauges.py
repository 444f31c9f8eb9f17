"""Gauges and probes of a metrics store: which values are asked for, and where they go.

A plain selector is read sample by sample; any other expression is evaluated at multiples of its ``every_s``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, Self

import anyio.to_thread
import numpy as np

from poise.engine.asking import LIMITS, Asked, Regex, Samples, Sorting, plain
from poise.engine.columns import STEP_S, Columns, Left, Tracks, Values
from poise.engine.pages import Looked, Numbers, dated
from poise.model.counting import QUERIED, definition
from poise.model.errors import Invalid, PoiseError, told
from poise.model.objective import Objective
from poise.model.samples import Frame
from poise.model.signal import QUERY_AT, QUERY_TOTAL, Points
from poise.ports.signals import SignalStore
from poise.ports.totals import Totals

MISSED_MAX: Final = 2.5  # looks: after a longer silence time is unknown
BACKFILL_S: Final = 3600.0  # what is read after a pause of Poise
TOGETHER_MAX: Final = 20  # expressions that are asked for as one
_TELLS: Final = "poise_objective"  # the label that tells expressions apart that are asked for as one

Due = tuple[float, float, float, tuple[int, ...]]  # start, end and step in seconds, objectives


class Gauges:
    """One source's gauges. Not for two looks at once."""

    period_s: Final = 5.0

    interpolated: Final = frozenset[str]()

    def __init__(
        self, place: str, objectives: Sequence[Objective], regex: Regex, left: Mapping[str, Left]
    ) -> None:
        self._columns = Columns(f"{QUERIED}{place}/gauges/", objectives, left)
        self._tracks: dict[Sorting, Tracks] = {}
        self._every_s = np.array([one.gauge.every_s if one.gauge else 0.0 for one in objectives])
        self._of: dict[str, list[int]] = defaultdict(list)  # by selector
        self._expressions: list[int] = []
        for number, one in enumerate(objectives):
            text = plain(_query(one))
            (self._expressions if text is None else self._of[text]).append(number)
        self._asked = Asked(self._of, regex)

    @staticmethod
    def source_of(objective: Objective) -> str | None:
        """Where its values are asked for; None where it has none."""
        return None if objective.gauge is None else objective.gauge.source

    @classmethod
    async def begin(cls, place: str, objectives: Sequence[Objective], regex: Regex, totals: Totals) -> Self:
        """Of ``project/source``; each goes on where it was left, also by a Poise before this one."""
        known = [point for name in (QUERY_AT, QUERY_TOTAL) for point in await totals.latest(name, {})]
        return await anyio.to_thread.run_sync(lambda: cls(place, objectives, regex, _left(known, objectives)))

    async def look(self, signals: SignalStore, now: datetime, stale_after_s: float) -> Looked:
        """Ask; what was answered is taken apart from the loop."""
        gap_s = np.maximum(stale_after_s, MISSED_MAX * self._every_s)
        back_s = self._back_s(now.timestamp(), gap_s)
        answers, faults = await self._asked.answers(
            signals, now, lambda one: max(back_s[number] for text in one.texts for number in self._of[text])
        )
        said = {number: fault for text, fault in faults.items() for number in self._of[text]}
        evaluated: list[tuple[tuple[int, ...], Frame]] = []
        for due in self._due(now.timestamp()):
            evaluated += await self._evaluated(signals, due, said)
        return await anyio.to_thread.run_sync(partial(self._taken, answers, evaluated, said, now, gap_s))

    def _back_s(self, now_s: float, gap_s: Numbers) -> list[float]:
        """How far back to read: everything that is new, and never less than what counts as fresh."""
        at_s = self._columns.at_s
        since_s = np.where(np.isfinite(at_s), now_s - at_s + 2 * STEP_S, 0.0)
        back_s: list[float] = np.clip(since_s, gap_s, np.maximum(BACKFILL_S, gap_s)).tolist()
        return back_s

    def _due(self, now_s: float) -> list[Due]:
        """Expressions whose beat has come; those of equal beat are asked for as one."""
        found: dict[tuple[float, float, float], list[int]] = defaultdict(list)
        for number in self._expressions:
            every_s, at_s = float(self._every_s[number]), float(self._columns.at_s[number])
            end_s = math.floor(now_s / every_s) * every_s
            start_s = end_s if math.isinf(at_s) else math.floor(at_s / every_s + 1.0) * every_s
            start_s = max(start_s, end_s - math.floor(BACKFILL_S / every_s) * every_s)
            if start_s <= end_s:
                found[start_s, end_s, every_s].append(number)
        return [
            (*beat, tuple(some[first : first + TOGETHER_MAX]))
            for beat, some in found.items()
            for first in range(0, len(some), TOGETHER_MAX)
        ]

    async def _evaluated(
        self, signals: SignalStore, due: Due, said: dict[int, str]
    ) -> list[tuple[tuple[int, ...], Frame]]:
        """The values of several expressions in one question; one that cannot be asked so is asked alone."""
        start_s, end_s, every_s, some = due
        bounds_ms = (round(start_s * 1000), round(end_s * 1000), round(every_s * 1000))
        queries = [_query(self._columns.objectives[number]) for number in some]
        told_apart = (f'label_replace({one}, "{_TELLS}", "{n}", "", "")' for n, one in enumerate(queries))
        asked = " or ".join(told_apart) if len(queries) > 1 else queries[0]
        try:
            return [(some, await signals.query_range(asked, *bounds_ms, LIMITS))]
        except Invalid as error:
            if len(some) > 1:
                alone = [
                    await self._evaluated(signals, (start_s, end_s, every_s, (one,)), said) for one in some
                ]
                return [pair for pairs in alone for pair in pairs]
            said[some[0]] = told(error)
        except (PoiseError, OSError) as error:
            said.update(dict.fromkeys(some, told(error)))
        return []

    def _taken(
        self,
        answers: Sequence[tuple[Sorting, Samples]],
        evaluated: Sequence[tuple[tuple[int, ...], Frame]],
        said: Mapping[int, str],
        now: datetime,
        gap_s: Numbers,
    ) -> Looked:
        asked = {number for one, _ in answers for text in one.question.texts for number in self._of[text]}
        asked |= {number for some, _ in evaluated for number in some}
        found = [self._samples(*one) for one in answers]
        found += [self._values(some, frame) for some, frame in evaluated]
        places = np.array(sorted(asked), dtype=np.intp)
        rows, count, wrong = self._columns.take(found, places, now.timestamp(), gap_s)
        keys = [one.key for one in self._columns.objectives]
        problems = {keys[number]: "" for number in asked}
        problems |= {keys[number]: fault for number, fault in [*wrong.items(), *said.items()]}
        return Looked(rows=dated(rows, count, now), problems=problems)

    def _samples(self, sorting: Sorting, found: Samples) -> tuple[Tracks, Values]:
        """Samples of selectors; the tracks are kept while the series are."""
        tracks = self._tracks.get(sorting)
        if tracks is None or tracks.series != found.series:
            keys = (
                (number, labels, row)
                for row, labels in enumerate(found.series)
                for text in sorting.selectors(labels)
                for number in self._of[text]
            )
            tracks = self._tracks[sorting] = self._columns.tracks(found.series, keys, tracks)
        starts = np.searchsorted(found.row, np.arange(len(found.series) + 1))
        count = np.diff(starts)[tracks.row]
        track = np.repeat(np.arange(len(count)), count)
        place = np.arange(len(track)) + np.repeat(starts[tracks.row] - (np.cumsum(count) - count), count)
        return tracks, Values(track=track, at_s=found.at_s[place], value=found.values[place])

    def _values(self, some: Sequence[int], frame: Frame) -> tuple[Tracks, Values]:
        """Values of expressions that were asked for as one."""
        keys = []
        for row, labels in enumerate(frame.series):
            rest = tuple(pair for pair in labels if pair[0] != _TELLS)
            keys.append((some[int(dict(labels).get(_TELLS, "0"))], rest, row))
        tracks = self._columns.tracks(frame.series, keys)
        track, step = np.nonzero(frame.present[tracks.row])
        values = frame.values[tracks.row][track, step]
        return tracks, Values(track=track, at_s=frame.at_ms[step] / 1000.0, value=values)


def _left(known: Sequence[Points], objectives: Sequence[Objective]) -> dict[str, Left]:
    """Where each was left, as far as it was counted as it is now."""
    wanted = {one.key: definition(one) for one in objectives}
    read: dict[str, tuple[float, float]] = {}  # its instant, and when that was kept
    sums: dict[str, dict[tuple[str, str], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for points in known:  # instants, then totals
        labels, (kept_s, value) = dict(points.series.labels), points.points[-1]
        key = labels["objective"]
        if wanted.get(key) != labels.get("definition"):
            continue
        if points.series.name == QUERY_AT:
            read[key] = max((value, kept_s), read.get(key, (-math.inf, 0.0)))
        elif key in read and kept_s >= read[key][1]:
            sums[key][labels.get("group", ""), labels["series"]][labels["role"]] = value
    return {
        key: Left(at_s=at_s, sums={at: (one["good"], one["total"]) for at, one in sums[key].items()})
        for key, (at_s, _) in read.items()
    }


def _query(objective: Objective) -> str:
    return objective.gauge.query.strip() if objective.gauge is not None else ""
