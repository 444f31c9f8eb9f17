"""The book of budgets: running sums of every objective at once, and any window as a difference of two.

Rows of cumulative sums (good, bad, measured time) stand at fixed instants: every ``GRAIN_S`` for an hour,
every minute for a day, every five minutes beyond, every hour after 35 days. A window's sum is what stands
now minus what stood at its start, so one more window costs one subtraction and no drift builds up. Edge
error: a window starts on the grain of its age, at most that much earlier than asked. Whole events and
milliseconds are added exactly.

What comes late, up to ``LATE_S``, counts at its own instant; what comes later still counts at the oldest open
one: none is lost. The grain is never finer than what the totals keep at that age, so a book that is rebuilt
from the totals equals the one that counted along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.model.increments import Increments, Numbers, Sums
from poise.ports.checkpoints import Row

GRAIN_S: Final = 5
LATE_S: Final = 900  # beyond the coarsest step of thinned totals, so that a rebuild spreads time as well
TIERS_S: Final = ((5, 3600), (60, 86_400))  # (step, for how long); beyond: COARSE_S
COARSE_S: Final = 300
COARSE_KEPT_S: Final = 35 * 86_400  # for windows that are longer: every OLD_S
OLD_S: Final = 3600
_OPEN: Final = LATE_S // GRAIN_S  # slots that may still change
_GOOD, _BAD, _KNOWN_MS = 0, 1, 2
_Rows = NDArray[np.float64]


class KeptBook(Struct, frozen=True, kw_only=True):
    """A book but for the rows of its tiers; of each tier the numbers of the oldest and newest row.

    A row of a version before ``cleared`` of a place says nothing of it: it was another objective's.
    """

    horizon_s: float
    width: int
    keys: dict[str, int]
    free: list[int]
    top: int | None
    began_s: float
    sums: tuple[bytes, bytes, bytes]  # open, sealed, live: little-endian float64
    tiers: list[tuple[int | None, int]]
    cleared: dict[int, int]


class _Tier:
    """Cumulative rows at each multiple of ``step_s``, the newest ``rows`` of them, in a ring."""

    def __init__(self, step_s: int, keep_s: float, width: int) -> None:
        self.step_s = step_s
        self.rows = int(keep_s // step_s) + 2
        self.data: _Rows = np.zeros((self.rows, 3, width))
        self.first: int | None = None  # numbers of the oldest and newest row; row n stands at n * step_s
        self.last = -1
        self.changed = 0  # the oldest row that is not kept as it is now

    def stand(self, first: int, sums: _Rows) -> None:
        """Of the sums at the starts of slots ``first`` and on, those at a multiple of the step."""
        each = self.step_s // GRAIN_S
        begin, last = -(-first // each), (first + len(sums) - 1) // each
        if last < begin:
            return
        if self.first is None:
            self.first = begin
        numbers = np.arange(max(begin, last - self.rows + 1), last + 1)
        self.data[numbers % self.rows] = sums[numbers * each - first]
        self.last = last
        self.first = max(self.first, last - self.rows + 1)
        self.changed = min(self.changed, int(numbers[0]))

    def row(self, number: int) -> _Rows:
        row: _Rows = self.data[number % self.rows]
        return row

    def numbers(self) -> NDArray[np.int64]:
        return np.arange(self.first or 0, self.last + 1, dtype=np.int64)


class Book:
    """Columns are places, one per objective; instants are UTC epoch seconds.

    Memory is about 250 kB per place for a horizon of 28 days, touched only as time passes.
    """

    def __init__(self, horizon_s: float, width: int = 16) -> None:
        self.horizon_s = horizon_s
        self._tiers = [_Tier(step, keep, width) for step, keep in TIERS_S]
        self._tiers.append(_Tier(COARSE_S, min(horizon_s, COARSE_KEPT_S), width))
        if horizon_s > COARSE_KEPT_S:
            self._tiers.append(_Tier(OLD_S, horizon_s, width))
        self._open: _Rows = np.zeros((_OPEN, 3, width))
        self._sealed: _Rows = np.zeros((3, width))  # everything before the oldest open slot
        self._live: _Rows = np.zeros((3, width))  # everything
        self._top: int | None = None  # the newest open slot
        self._began_s = np.inf
        self._keys: dict[str, int] = {}
        self._free = list(range(width))[::-1]
        self._cleared: dict[int, int | None] = {}  # by place: the version since which rows are its own

    @property
    def keys(self) -> dict[str, int]:
        """The place of each objective."""
        return self._keys

    @property
    def width(self) -> int:
        """How many places there are, free ones included."""
        return int(self._live.shape[1])

    def place(self, key: str) -> int:
        """The objective's place: its own, or a free one whose sums are zero."""
        if key not in self._keys:
            if not self._free:
                self._widen(2 * self.width)
            self._keys[key] = self._free.pop()
        return self._keys[key]

    def forget(self, key: str) -> None:
        """Free the objective's place."""
        place = self._keys.pop(key)
        self._free.append(place)
        for array in self._arrays():
            array[..., place] = 0.0
        self._cleared[place] = None

    # -- adding -----------------------------------------------------------------------------------

    def add(self, increments: Increments) -> None:
        """Count them, ascending by ``at_s``. Each instant is whole milliseconds to the book."""
        if not len(increments):
            return
        at_ms = np.rint(increments.at_s * 1000.0)
        from_ms = np.minimum(np.rint(increments.known_from_s * 1000.0), at_ms)
        self._began_s = min(self._began_s, float(from_ms.min()) / 1000.0)
        slots = np.floor_divide(at_ms, GRAIN_S * 1000).astype(np.int64)
        for first, last in _pieces(slots):
            some = slice(first, last)
            self._advance(int(slots[last - 1]))
            self._count(increments, some, slots[some])
            self._know(increments.place[some], from_ms[some], at_ms[some])

    def _count(self, increments: Increments, some: slice, slots: NDArray[np.int64]) -> None:
        assert self._top is not None
        place = increments.place[some]
        ring = np.maximum(slots, self._top - _OPEN + 1) % _OPEN
        for row, values in ((_GOOD, increments.good[some]), (_BAD, increments.bad[some])):
            np.add.at(self._open[:, row], (ring, place), values)
            np.add.at(self._live[row], place, values)

    def _know(self, place: NDArray[np.intp], from_ms: Numbers, at_ms: Numbers) -> None:
        """Measured time lies in the slots in which it passed, whole ones between two readings included."""
        assert self._top is not None
        slot_ms = GRAIN_S * 1000
        opened_ms = float((self._top - _OPEN + 1) * slot_ms)
        np.add.at(self._live[_KNOWN_MS], place, at_ms - from_ms)
        for k in np.flatnonzero(from_ms < opened_ms):
            self._know_sealed(int(place[k]), float(from_ms[k]), float(min(at_ms[k], opened_ms)))
        begin = np.maximum(from_ms, opened_ms)
        kept = np.flatnonzero(at_ms > begin)
        place, begin, end = place[kept], begin[kept], at_ms[kept]
        first = np.floor_divide(begin, slot_ms).astype(np.int64)
        last = np.minimum(np.floor_divide(end, slot_ms).astype(np.int64), self._top)
        known = self._open[:, _KNOWN_MS]
        apart = last > first
        np.add.at(known, (first % _OPEN, place), np.where(apart, (first + 1) * slot_ms, end) - begin)
        np.add.at(known, (last % _OPEN, place), np.where(apart, end - last * slot_ms, 0.0))
        if (last > first + 1).any():  # whole slots between
            opened = self._top - _OPEN + 1
            steps = np.zeros((_OPEN + 1, self.width))
            np.add.at(steps, (np.where(apart, first + 1, last) - opened, place), float(slot_ms))
            np.add.at(steps, (last - opened, place), -float(slot_ms))
            known[np.arange(opened, self._top + 1) % _OPEN] += np.cumsum(steps[:-1], axis=0)

    def _know_sealed(self, place: int, from_ms: float, to_ms: float) -> None:
        """A gap that turned out to be measured (the same counters were read again)."""
        for tier in self._tiers:
            numbers = tier.numbers()
            passed = np.clip(np.minimum(numbers * (tier.step_s * 1000.0), to_ms) - from_ms, 0.0, None)
            tier.data[numbers % tier.rows, _KNOWN_MS, place] += passed
            if passed.any():
                tier.changed = min(tier.changed, int(numbers[np.flatnonzero(passed)[0]]))
        self._sealed[_KNOWN_MS, place] += to_ms - from_ms

    def _advance(self, top: int) -> None:
        """Open slots up to ``top``; what falls out of the open ones is sealed and stands in the tiers."""
        if self._top is None:
            self._top = top
            self._stand(top - _OPEN + 1, self._sealed[None])
            return
        if top <= self._top:
            return
        first, last = self._top - _OPEN + 1, top - _OPEN
        ring = np.arange(first, min(last, self._top) + 1) % _OPEN
        sums = np.cumsum(np.concatenate([self._sealed[None], self._open[ring]]), axis=0)[1:]
        self._open[ring] = 0.0
        self._sealed = sums[-1].copy()
        self._stand(first + 1, sums)
        if last > self._top:
            still = np.broadcast_to(self._sealed, (last - self._top, *self._sealed.shape))
            self._stand(self._top + 2, still)
        self._top = top

    def _stand(self, first: int, sums: _Rows) -> None:
        for tier in self._tiers:
            tier.stand(first, sums)

    # -- asking -----------------------------------------------------------------------------------

    def between(self, start_s: float | Numbers, end_s: float | None = None) -> Sums:
        """The sums in [start, end) of every place, or up to all that is known.

        ``start_s`` is one instant or one per place; equal starts share their work.
        """
        end = self._live if end_s is None else self._at(end_s)[0]
        if isinstance(start_s, float | int):
            row, edge = self._at(float(start_s))
            return _sums(end - row, np.full(self.width, edge))
        left, edges = np.array(end), np.empty(self.width)
        if len(start_s) and (start_s == start_s[0]).all():
            return self.between(float(start_s[0]), end_s)
        starts, which = np.unique(start_s, return_inverse=True)
        for number, start in enumerate(starts.tolist()):
            mine = np.flatnonzero(which == number)
            row, edges[mine] = self._at(start)
            left[:, mine] = end[:, mine] - row[:, mine]
        return _sums(left, edges)

    def curve(self, key: str, at_s: Numbers) -> Sums:
        """One objective's sums from its beginning up to each instant: for charts and forecasts."""
        return _sums(*self._stood(at_s, self._keys[key]))

    def standing(self, at_s: Numbers) -> Sums:
        """Every place's sums from its beginning up to each instant: ``[instants, places]``."""
        return _sums(*self._stood(at_s, slice(None)))

    def spent_by(self, key: str, start_s: float, most: float) -> float | None:
        """The earliest edge, at or after ``start_s``, since when at most ``most`` events were bad."""
        place = self._keys[key]
        for at_s, bad in self._standing(place, start_s):
            if self._live[_BAD, place] - bad <= most:
                return at_s
        return None

    def _standing(self, place: int, start_s: float) -> Iterator[tuple[float, float]]:
        """Bad events up to each kept instant from ``start_s`` on, ascending, the finest known of each."""
        until_s = start_s
        for number, tier in reversed(list(enumerate(self._tiers))):
            numbers = tier.numbers()
            finer = self._tiers[number - 1] if number else None
            end_s = finer.first * finer.step_s if finer is not None and finer.first is not None else np.inf
            for row in numbers[numbers * tier.step_s >= until_s].tolist():
                if row * tier.step_s >= end_s:
                    break
                until_s = row * tier.step_s
                yield float(until_s), float(tier.row(row)[_BAD, place])
        if self._top is not None:
            bad = float(self._sealed[_BAD, place])
            for slot in range(self._top - _OPEN + 1, self._top + 1):
                bad += float(self._open[slot % _OPEN, _BAD, place])
                yield float((slot + 1) * GRAIN_S), bad

    def _at(self, at_s: float) -> tuple[_Rows, float]:
        """What stood at the newest edge at or before ``at_s``, and that edge."""
        if self._top is None or at_s <= self._began_s:
            return np.zeros_like(self._live), at_s
        slot = int(at_s // GRAIN_S)
        if slot > self._top:
            return self._live, at_s
        opened = self._top - _OPEN + 1
        if slot > opened:
            young = self._open[np.arange(opened, slot) % _OPEN].sum(axis=0)
            return self._sealed + young, float(slot * GRAIN_S)
        for tier in self._tiers:
            number = int(at_s // tier.step_s)
            if tier.first is not None and tier.first <= number <= tier.last:
                return tier.row(number), float(number * tier.step_s)
        tier = self._tiers[-1]  # before everything that is kept
        oldest = tier.first if tier.first is not None else 0
        kept = at_s >= self._began_s and tier.last - oldest + 1 >= tier.rows
        return (tier.row(oldest), float(oldest * tier.step_s)) if kept else (np.zeros_like(self._live), at_s)

    def _stood(self, at_s: Numbers, places: int | slice) -> tuple[_Rows, Numbers]:
        """As ``_at`` of many instants at once: ``[3, instants, ...]``, and the edges."""
        rows, edges = np.zeros((len(at_s), *self._live[:, places].shape)), np.array(at_s, dtype=np.float64)
        if self._top is None:
            return np.moveaxis(rows, 1, 0), edges
        slots, opened = np.floor_divide(at_s, GRAIN_S).astype(np.int64), self._top - _OPEN + 1
        began = at_s > self._began_s
        rows[began & (slots > self._top)] = self._live[:, places]
        young = began & (slots > opened) & (slots <= self._top)
        if young.any():
            ring = np.arange(opened, int(slots[young].max())) % _OPEN
            sums = np.cumsum(self._open[:, :, places][ring], axis=0)
            rows[young] = self._sealed[:, places] + sums[slots[young] - opened - 1]
            edges[young] = slots[young] * float(GRAIN_S)
        old = began & (slots <= opened)
        for tier in self._tiers:
            if tier.first is None or not old.any():
                continue
            numbers = np.floor_divide(at_s, tier.step_s).astype(np.int64)
            mine = old & (tier.first <= numbers) & (numbers <= tier.last)
            rows[mine] = tier.data[:, :, places][numbers[mine] % tier.rows]
            edges[mine] = numbers[mine] * float(tier.step_s)
            old &= ~mine
        for number in np.flatnonzero(old).tolist():  # before everything that is kept
            row, edges[number] = self._at(float(at_s[number]))
            rows[number] = row[:, places]
        return np.moveaxis(rows, 1, 0), edges

    # -- keeping ----------------------------------------------------------------------------------

    def changed(self, bytes_max: int) -> tuple[list[Row], bool]:
        """Rows that are not kept as they are now, at most of so many bytes; whether these are all."""
        most, found = max(1, bytes_max // (24 * self.width)), list[Row]()
        for place, tier in enumerate(self._tiers):
            numbers = tier.numbers()
            for number in numbers[numbers >= tier.changed].tolist():
                if len(found) == most:
                    return found, False
                found.append(Row(tier=place, number=number, data=_bytes(tier.row(number))))
        return found, True

    def keep(self, rows: Sequence[Row], version: int) -> None:
        """These rows are kept now."""
        for row in rows:
            self._tiers[row.tier].changed = row.number + 1
        self._cleared = {place: since or version for place, since in self._cleared.items()}

    def unkept(self) -> None:
        """Nothing of it is kept."""
        for tier in self._tiers:
            tier.changed = 0

    def kept(self, version: int) -> KeptBook:
        """Everything but the rows, which are kept by ``version`` or before."""
        return KeptBook(
            horizon_s=self.horizon_s, width=self.width, keys=self._keys, free=self._free, top=self._top,
            began_s=self._began_s, tiers=[(tier.first, tier.last) for tier in self._tiers],
            sums=(_bytes(self._open), _bytes(self._sealed), _bytes(self._live)),
            cleared={place: since or version for place, since in self._cleared.items()},
        )  # fmt: skip

    @classmethod
    def resumed(cls, kept: KeptBook) -> Book:
        """The book without its rows: ``put`` them."""
        made = cls(kept.horizon_s, kept.width)
        made._open, made._sealed, made._live = (
            np.frombuffer(data, "<f8").reshape(own.shape).copy()
            for data, own in zip(kept.sums, (made._open, made._sealed, made._live), strict=True)
        )
        made._top, made._began_s, made._keys, made._free = kept.top, kept.began_s, kept.keys, kept.free
        made._cleared = dict(kept.cleared)
        for tier, (first, last) in zip(made._tiers, kept.tiers, strict=True):
            tier.first, tier.last, tier.changed = first, last, last + 1
        return made

    @property
    def rows_kept(self) -> list[tuple[int, int]]:
        """The numbers of the oldest and newest row of each tier that ``put`` must be given."""
        return [(0, -1) if tier.first is None else (tier.first, tier.last) for tier in self._tiers]

    @property
    def oldest(self) -> list[int]:
        """The oldest row of each tier: those before are not needed any more."""
        return [tier.first or 0 for tier in self._tiers]

    def tier_rows(self, tier: int) -> list[bytes]:
        """The rows of a tier as bytes, the oldest first."""
        return [_bytes(self._tiers[tier].row(number)) for number in self._tiers[tier].numbers()]

    def put(self, rows: Sequence[Row]) -> None:
        """Rows as they were kept; narrower where there were fewer places."""
        for row in rows:
            own, told = self._tiers[row.tier].row(row.number), np.frombuffer(row.data, "<f8").reshape(3, -1)
            own[:, : told.shape[1]] = told
            for place in [place for place, since in self._cleared.items() if row.version < (since or 0)]:
                own[:, place] = 0.0

    # -- room -------------------------------------------------------------------------------------

    def _arrays(self) -> Iterator[_Rows]:
        yield from (tier.data for tier in self._tiers)
        yield from (self._open, self._sealed, self._live)

    def _widen(self, width: int) -> None:
        def wider(array: _Rows) -> _Rows:
            made = np.zeros((*array.shape[:-1], width))
            made[..., : array.shape[-1]] = array
            return made

        self._free += list(range(self.width, width))[::-1]
        for tier in self._tiers:
            tier.data = wider(tier.data)
        self._open, self._sealed, self._live = map(wider, (self._open, self._sealed, self._live))


def _pieces(slots: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of ascending slots, none of which spans more than half of what is open."""
    first = 0
    while first < len(slots):
        last = int(np.searchsorted(slots, slots[first] + _OPEN // 2, side="right"))
        yield first, last
        first = last


def _bytes(rows: _Rows) -> bytes:
    return rows.astype("<f8").tobytes()


def _sums(rows: _Rows, edges: Numbers) -> Sums:
    total = np.maximum(rows[_GOOD] + rows[_BAD], 0.0)
    bad = np.clip(rows[_BAD], 0.0, total)
    return Sums(
        good=total - bad,
        bad=bad,
        known_s=np.maximum(rows[_KNOWN_MS], 0.0) / 1000.0,
        start_s=edges,
        excess=np.maximum(0.0, -np.minimum(rows[_GOOD], rows[_BAD])),
    )
