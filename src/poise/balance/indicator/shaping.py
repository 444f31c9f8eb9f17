"""Counted events become the units of a budget: events as they are, slices of time, composites.

One ``Shaping`` lives as long as the book that its units go into. Told the same events again from the
beginning it says the same units, so a restart makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
from msgspec import Struct

from poise.model.composite import Waiting, combine
from poise.model.increments import Increments, joined
from poise.model.objective import Composite, Method, Objective, Slicing
from poise.model.slices import Contradiction, Reading, Slice, Sliced, advance

_Owner = tuple[str, Method, Slicing | None, Composite | None]


class _Unit(Struct, kw_only=True):
    """Where the slicing of one objective (or of a composite's component) stands."""

    owner: _Owner
    sliced: Sliced = Sliced()
    parts: dict[str, Sliced] = {}
    waiting: Waiting = Waiting()


class Shaping:
    """By place: what was counted, in units of the objective's budget."""

    def __init__(self) -> None:
        self._units: dict[int, _Unit] = {}

    def shaped(self, objectives: dict[int, Objective], counted: Increments, now_s: float) -> Increments:
        """What goes into the book, ascending by instant. O(new events + objectives with slices)."""
        sliced = {place: one for place, one in objectives.items() if one.slicing is not None}
        self._units = {place: unit for place, unit in self._units.items() if place in sliced}
        if not sliced:
            return counted
        readings = _readings(counted, _wanted(objectives, sliced))
        found: dict[int, tuple[Slice, ...]] = {}
        for place, one in sliced.items():
            if one.composite is None:
                found[place] = self._sliced(place, one, readings.get(place, ()), now_s)
        places = {one.key: place for place, one in objectives.items()}
        for place in _components_first(sliced, places):
            found[place] = self._combined(place, objectives, places, readings, found, now_s)
        plain = ~np.isin(counted.place, np.array(list(sliced), dtype=np.intp))
        return joined([counted.only(plain), _units(found, sliced)])

    def contradictions(self) -> Mapping[int, Contradiction]:
        """See the protocol. Of a composite, those of components that it cuts into slices itself."""
        found: dict[int, Contradiction] = {}
        for place, unit in self._units.items():
            said = [one.contradicted for one in (unit.sliced, *unit.parts.values()) if one.contradicted]
            if said:
                found[place] = max(said, key=lambda one: one.until)
        return found

    def kept(self) -> bytes:
        """Where every slicing stands."""
        return msgspec.msgpack.encode(self._units)

    def resume(self, kept: bytes) -> None:
        """See the protocol."""
        self._units = msgspec.msgpack.decode(kept, type=dict[int, _Unit])

    def _unit(self, place: int, objective: Objective) -> _Unit:
        """The state of a place, begun anew where another objective has it now."""
        owner: _Owner = (objective.key, objective.method, objective.slicing, objective.composite)
        unit = self._units.get(place)
        if unit is None or unit.owner != owner:
            unit = self._units[place] = _Unit(owner=owner)
        return unit

    def _sliced(
        self, place: int, objective: Objective, readings: Sequence[Reading], now_s: float
    ) -> tuple[Slice, ...]:
        assert objective.slicing is not None
        unit = self._unit(place, objective)
        unit.sliced, slices = advance(unit.sliced, readings, objective.slicing, objective.method, now_s)
        return slices

    def _combined(
        self, place: int, objectives: Mapping[int, Objective], places: Mapping[str, int],
        readings: Mapping[int, Sequence[Reading]], found: Mapping[int, tuple[Slice, ...]], now_s: float,
    ) -> tuple[Slice, ...]:  # fmt: skip
        """The slices of a composite: its components' own where they fit, else theirs cut to its length."""
        whole = objectives[place]
        assert whole.composite is not None and whole.slicing is not None
        unit, slicing = self._unit(place, whole), Slicing(slice_s=whole.slicing.slice_s)
        said: dict[str, tuple[Slice, ...]] = {}
        for part in whole.composite.components:
            its = places.get(part.objective)
            if its is None:
                continue
            one = objectives[its]
            if one.slicing is not None and one.slicing.slice_s == slicing.slice_s:
                said[part.objective] = found.get(its, ())
                continue
            events = readings.get(its, ()) if one.composite is None else _again(found.get(its, ()), one)
            before = unit.parts.get(part.objective, Sliced())
            after, said[part.objective] = advance(before, events, slicing, Method.RATIO_TIMESLICES, now_s)
            unit.parts[part.objective] = after
        unit.waiting, slices = combine(unit.waiting, said, whole.composite, now_s)
        if whole.method is not Method.TIMESLICES:
            return slices
        least = whole.slicing.target_ratio or 0.0
        return tuple(_binary(one, least) for one in slices)


def _binary(one: Slice, least: float) -> Slice:
    good = float(one.good >= least)
    return Slice(one.end_s, good, 1.0 - good)


def _again(slices: Iterable[Slice], objective: Objective) -> tuple[Reading, ...]:
    """Units as events, for a composite with slices of another length."""
    assert objective.slicing is not None
    length_s = objective.slicing.slice_s
    return tuple(Reading(one.end_s, one.good, one.bad, one.end_s - length_s) for one in slices)


def _wanted(objectives: Mapping[int, Objective], sliced: Mapping[int, Objective]) -> set[int]:
    """Places whose events are needed one by one: those with slices, and components of composites."""
    parts = {part.objective for one in sliced.values() if one.composite for part in one.composite.components}
    return set(sliced) | {place for place, one in objectives.items() if one.key in parts}


def _readings(counted: Increments, wanted: set[int]) -> dict[int, list[Reading]]:
    found: dict[int, list[Reading]] = {}
    mine = np.flatnonzero(np.isin(counted.place, np.array(sorted(wanted), dtype=np.intp)))
    columns = (counted.place, counted.at_s, counted.good, counted.bad, counted.known_from_s)
    for place, at_s, good, bad, from_s in zip(*(column[mine].tolist() for column in columns), strict=True):
        found.setdefault(int(place), []).append(Reading(at_s, good, bad, from_s))
    return found


def _components_first(sliced: Mapping[int, Objective], places: Mapping[str, int]) -> list[int]:
    """Composites in an order in which each follows the composites that it is made of."""
    ahead = {place: one for place, one in sliced.items() if one.composite is not None}
    order: list[int] = []
    while ahead:
        ready = [
            place
            for place, one in ahead.items()
            if one.composite
            and not any(places.get(part.objective) in ahead for part in one.composite.components)
        ]
        if not ready:  # a circle, which the reader of poise.yaml refuses
            break
        order += ready
        ahead = {place: one for place, one in ahead.items() if place not in ready}
    return order


def _units(found: Mapping[int, Sequence[Slice]], sliced: Mapping[int, Objective]) -> Increments:
    rows = [
        (place, one.end_s, one.good, one.bad, one.end_s - slicing.slice_s)
        for place, slices in found.items()
        if (slicing := sliced[place].slicing) is not None
        for one in slices
    ]
    columns = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return Increments(
        place=columns[0].astype(np.intp),
        at_s=columns[1],
        good=columns[2],
        bad=columns[3],
        known_from_s=columns[4],
    )
