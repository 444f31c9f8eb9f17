"""Joins what several places hold of the same series into one ``Block``.

A part is ``values[k, T]`` of k series at T instants. Series whose parts lie together everywhere (a target
whose series do not change) are joined as whole matrices; the rest one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from poise.adapters.blocks.index import Ids
from poise.model.samples import EMPTY, Block, Instants, Labels, Values


class Part(NamedTuple):
    """Some series at some instants, all present; instants ascend."""

    ids: Ids
    at_ms: Instants
    values: Values


class _Owner(NamedTuple):
    ids: Ids
    at_ms: Instants
    parts: list[Values]
    order: NDArray[np.intp] | None  # columns to take, where instants had to be sorted


def assemble(parts: Sequence[Part], labels_of: Callable[[Ids], tuple[Labels, ...]]) -> Block:
    """One block of all parts. Parts are in order of time; of two samples at one instant the first stays."""
    block, ids = joined(parts)
    return Block(
        series=labels_of(ids), owner=block.owner, at_ms=block.at_ms, start=block.start, flat=block.flat
    )


def joined(parts: Sequence[Part]) -> tuple[Block, Ids]:
    """The same by number: a block without labels, and the number of each of its series."""
    parts = [part for part in parts if len(part.ids) and len(part.at_ms)]
    if not parts:
        return EMPTY, np.empty(0, np.int32)
    return _laid(_owners(parts))


def _owners(parts: Sequence[Part]) -> list[_Owner]:
    together: dict[bytes, list[Part]] = {}
    for part in parts:
        together.setdefault(part.ids.tobytes(), []).append(part)
    keys = list(together.values())
    mixed = _mixed([key[0].ids for key in keys])
    owners = [
        _owner(key[0].ids, [part.at_ms for part in key], [part.values for part in key])
        for key, apart in zip(keys, mixed, strict=True)
        if not apart
    ]
    if any(mixed):
        owners += _one_by_one([part for key, apart in zip(keys, mixed, strict=True) if apart for part in key])
    return owners


def _mixed(keys: list[Ids]) -> list[bool]:
    """Which of these sets of series share a series with another."""
    if len(keys) == 1:
        return [False]
    every = np.concatenate(keys)
    _, inverse, counts = np.unique(every, return_inverse=True, return_counts=True)
    if len(counts) == len(every):
        return [False] * len(keys)
    starts = np.cumsum([0, *(len(key) for key in keys)])[:-1]
    apart: list[bool] = (np.maximum.reduceat(counts[inverse], starts) > 1).tolist()
    return apart


def _one_by_one(parts: list[Part]) -> list[_Owner]:
    """Series that wander between parts, grouped by the list of parts that hold them."""
    held: dict[int, list[tuple[int, int]]] = {}
    for place, part in enumerate(parts):
        for row, one in enumerate(part.ids.tolist()):
            held.setdefault(one, []).append((place, row))
    alike: dict[tuple[int, ...], list[int]] = {}
    for one, rows in held.items():
        alike.setdefault(tuple(place for place, _ in rows), []).append(one)
    owners = []
    for places, ids in alike.items():
        values = []
        for turn, place in enumerate(places):
            values.append(parts[place].values[[held[one][turn][1] for one in ids]])
        owners.append(_owner(np.array(ids, np.int32), [parts[place].at_ms for place in places], values))
    return owners


def _owner(ids: Ids, stamps: list[Instants], values: list[Values]) -> _Owner:
    at_ms = stamps[0] if len(stamps) == 1 else np.concatenate(stamps)
    if len(at_ms) < 2 or bool((at_ms[1:] > at_ms[:-1]).all()):
        return _Owner(ids, at_ms, values, None)
    order = np.argsort(at_ms, kind="stable")
    ordered = at_ms[order]
    fresh = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    return _Owner(ids, ordered[fresh], values, order[fresh])


def _laid(owners: list[_Owner]) -> tuple[Block, Ids]:
    sizes = np.array([len(one.ids) for one in owners], np.intp)
    lengths = np.array([len(one.at_ms) for one in owners], np.intp)
    bounds = np.concatenate([[0], np.cumsum(sizes * lengths)])
    flat = np.empty(int(bounds[-1]))
    for one, begin, end in zip(owners, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        out = flat[begin:end].reshape(len(one.ids), -1)
        if one.order is not None:
            out[:] = np.concatenate(one.parts, axis=1)[:, one.order]
        elif len(one.parts) == 1:
            out[:] = one.parts[0]
        else:
            np.concatenate(one.parts, axis=1, out=out)
    owner = np.repeat(np.arange(len(owners), dtype=np.intp), sizes)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return Block(
        series=(),
        owner=owner,
        at_ms=tuple(one.at_ms for one in owners),
        start=(bounds[:-1][owner] + within * lengths[owner]).astype(np.intp),
        flat=flat,
    ), np.concatenate([one.ids for one in owners])
