"""Many gauges at once are what each value added by itself would have made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from poise.engine.columns import JUST_S, STEP_S, Columns, Left, Tracks, Values
from poise.model.objective import Comparison, Gauge, IndicatorKind, Objective
from poise.model.samples import NAME, Labels
from poise.model.signal import QUERY_AT, Rows

GAP_S = 90.0
State = tuple[float, dict[tuple[str, str], tuple[float, float]]]  # instant; by (group, life): good, total
Samples = dict[Labels, list[tuple[float, float]]]


def objective(name: str, kind: IndicatorKind, **changes: object) -> Objective:
    gauge = Gauge(query=name, op=Comparison.LT, bound=0.5, failure=name == "ratio")
    return Objective(
        service="acme/production/shop", name=name, indicator=kind, target_ratio=0.9, gauge=gauge,
        **changes,  # type: ignore[arg-type]
    )  # fmt: skip


OBJECTIVES = (
    objective("depth", IndicatorKind.THRESHOLD, group_by=("region",)),
    objective("ratio", IndicatorKind.RAW_RATIO),
    objective("few", IndicatorKind.BOOLEAN, group_by=("region",), groups_max=1),
)
REGIONS = ("ap", "eu", "us")


class ByHand:
    """One objective, its values added one after another."""

    def __init__(self, mine: Objective) -> None:
        self.mine, self.at_s, self.floor_s = mine, -math.inf, -math.inf
        self.sums: dict[tuple[str, str], tuple[float, float]] = {}
        self.newest: dict[Labels, float] = {}
        self.states: list[State] = []

    def look(self, samples: Samples, now_s: float) -> None:
        self.newest = {labels: self.newest.get(labels, self.floor_s) for labels in samples}
        fresh = sorted(
            (at_s, labels, value)
            for labels, some in samples.items()
            for at_s, value in some
            if at_s > self.newest[labels]
        )
        groups = sorted({self.mine.group_of(labels) for labels in samples})
        last_s = max([self.at_s, *(at_s for at_s, _, _ in fresh)])
        is_odd = self.mine.name == "ratio" and any(value > 1.0 for _, _, value in fresh)
        if len(groups) > self.mine.groups_max or is_odd or now_s - last_s > GAP_S:
            return
        for number, (at_s, labels, value) in enumerate(fresh):
            if at_s - self.at_s > GAP_S:
                self.at_s, self.sums = at_s - JUST_S, {(group, f"{at_s:.3f}"): (0.0, 0.0) for group in groups}
                self.states.append((self.at_s, dict(self.sums)))
            if value == value:
                place = self.mine.group_of(labels), next(life for _, life in self.sums)
                good, total = self.sums.get(place, (0.0, 0.0))
                share = 1 - value if self.mine.name == "ratio" else float(value < 0.5)
                self.sums[place] = good + share, total + 1.0
            self.at_s, self.newest[labels] = max(self.at_s, at_s), at_s
            after = fresh[number + 1][0] if number + 1 < len(fresh) else math.inf
            if -at_s // STEP_S != -after // STEP_S:
                self.states.append((self.at_s, dict(self.sums)))
            self.floor_s = -math.inf

    def restart(self) -> None:
        self.floor_s, self.newest = self.at_s, {}


def kept(rows: Sequence[Rows], name: str) -> list[State]:
    """What was kept of an objective, one state after another."""
    found: list[State] = []
    for one in rows:
        mine = [
            (place, one_.name, labels)
            for place, one_ in enumerate(one.series)
            if (labels := dict(one_.labels))["objective"].endswith(name)
        ]
        for row in one.values if mine else ():
            sums: dict[tuple[str, str], list[float]] = {}
            at_s = next(row[place] for place, kind, _ in mine if kind == QUERY_AT)
            for place, kind, labels in mine:
                if kind != QUERY_AT:
                    side = 0 if labels["role"] == "good" else 1
                    at = labels.get("group", ""), labels["series"]
                    sums.setdefault(at, [0.0, 0.0])[side] = row[place]
            found.append((at_s, {at: (good, total) for at, (good, total) in sums.items()}))
    return found


def essence(states: Sequence[State]) -> list[tuple[float, list[tuple[str, float, float]]]]:
    """Without what says nothing: the same again, groups of no events, how a life is called."""
    found: list[tuple[float, list[tuple[str, float, float]]]] = []
    for at_s, sums in states:
        some = sorted((group, round(good, 9), total) for (group, _), (good, total) in sums.items() if total)
        if not found or found[-1] != (at_s, some):
            found.append((at_s, some))
    return found


@st.composite
def samples(draw: st.DrawFn) -> list[Samples]:
    """Of each objective: series with values, ascending, now and then after a gap."""
    found: list[Samples] = []
    for one in OBJECTIVES:
        mine: Samples = {}
        for region in draw(st.lists(st.sampled_from(REGIONS), min_size=1, max_size=3, unique=True)):
            steps = draw(st.lists(st.sampled_from([1.0, 5.0, 15.0, 15.0, 40.0, 200.0]), max_size=25))
            odd = [7.0] if one.name == "ratio" else []
            value = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, math.nan, *odd])
            at_s = 1000.0 + np.cumsum([0.0, *steps]) + draw(st.sampled_from([0.0, 0.25]))
            mine[(NAME, one.name), ("region", region)] = [(at, draw(value)) for at in at_s.tolist()]
        found.append(mine)
    return found


def answered(
    columns: Columns, known: dict[int, Tracks], given: list[Samples], now_s: float
) -> tuple[list[Samples], list[tuple[Tracks, Values]]]:
    """What a store answers at an instant, and the same as columns have it."""
    seen = [
        {labels: past for labels, some in mine.items() if (past := [one for one in some if one[0] <= now_s])}
        for mine in given
    ]
    taken: list[tuple[Tracks, Values]] = []
    for number, mine in enumerate(seen):
        series = tuple(mine)
        tracks = known.get(number)
        if tracks is None or tracks.series != series:
            keys = ((number, labels, row) for row, labels in enumerate(series))
            tracks = known[number] = columns.tracks(series, keys, tracks)
        points = [(track, *one) for track, (_, labels, _) in enumerate(tracks.keys) for one in mine[labels]]
        track, at_s, value = (np.array(one) for one in zip(*points, strict=True)) if points else ([], [], [])
        taken.append((tracks, Values(track=np.array(track, np.intp), at_s=np.array(at_s, float),
                                     value=np.array(value, float))))  # fmt: skip
    return seen, taken


@given(samples(), st.lists(st.tuples(st.sampled_from([1.0, 5.0, 30.0, 400.0]), st.booleans()), max_size=12))
def test_columns_are_what_adding_one_by_one_makes(
    given: list[Samples], looks: list[tuple[float, bool]]
) -> None:
    """The law that the columns stand on, restarts and gaps included."""
    hands = [ByHand(one) for one in OBJECTIVES]
    columns, now_s = Columns("p/", OBJECTIVES, {}), 1000.0
    known: dict[int, Tracks] = {}
    rows: list[Rows] = []
    for wait_s, restarts in looks:
        now_s += wait_s
        if restarts:
            last = {hand.mine.key: Left(at_s=hand.at_s, sums=hand.sums) for hand in hands if hand.sums}
            columns, known = Columns("p/", OBJECTIVES, last), {}
            for hand in hands:
                hand.restart()
        seen, taken = answered(columns, known, given, now_s)
        made, count, _ = columns.take(taken, np.arange(3), now_s, np.full(3, GAP_S))
        rows += made
        assert all((np.diff(one.at_s) > 0).all() and one.at_s[-1] < count for one in made)
        for hand, mine in zip(hands, seen, strict=True):
            hand.look(mine, now_s)
    for hand in hands:
        assert essence(kept(rows, hand.mine.name)) == essence(hand.states)
