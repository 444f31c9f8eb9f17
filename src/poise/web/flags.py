"""Flags of changes above a chart: stacked in rows, and clustered where they would not fit.

Two flags never overlap, whatever the labels and however dense the changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

ROWS_MAX = 4
LABEL_LENGTH_MAX = 24
GAP = 4.0
CHARACTER_WIDTH = 6.9  # of the widest usual glyphs at 11 px; labels are short, so generous is cheap
PADDING = 10.0


class Group(Struct, frozen=True, kw_only=True):
    """One flag: at ``x`` (pixels, ascending), standing for the changes ``members`` (indices)."""

    x: float
    label: str
    members: tuple[int, ...]


class Flag(Struct, frozen=True, kw_only=True):
    """A placed flag: its box spans ``left`` to ``left + width`` in ``row`` (0 is the top)."""

    group: Group
    left: float
    width: float
    row: int


def arrange(items: Sequence[tuple[float, str]], width: float) -> tuple[Flag, ...]:
    """Flags for ``items`` (x, label; x ascending) on an axis of ``width`` pixels.

    O(n²) at worst; the caller bounds the number of changes.
    """
    groups = [Group(x=x, label=_clip(label), members=(index,)) for index, (x, label) in enumerate(items)]
    while (placed := _place(groups, width)) is None:
        groups = _merge_closest(groups)
    return placed


def _place(groups: Sequence[Group], width: float) -> tuple[Flag, ...] | None:
    """Each group in the first row where it fits; None if one fits nowhere."""
    ends = [float("-inf")] * ROWS_MAX
    flags = []
    for group in groups:
        box = len(group.label) * CHARACTER_WIDTH + PADDING
        left = max(0.0, min(group.x, width - box))
        row = next((row for row, end in enumerate(ends) if end + GAP <= left), None)
        if row is None:
            return None
        ends[row] = left + box
        flags.append(Flag(group=group, left=left, width=box, row=row))
    return tuple(flags)


def _merge_closest(groups: Sequence[Group]) -> list[Group]:
    """The groups with the two nearest neighbours made one."""
    gaps = [after.x - before.x for before, after in pairwise(groups)]
    at = gaps.index(min(gaps))
    first, second = groups[at], groups[at + 1]
    members = first.members + second.members
    merged = Group(x=first.x, label=f"{len(members)} changes", members=members)
    return [*groups[:at], merged, *groups[at + 2 :]]


def _clip(label: str) -> str:
    return label if len(label) <= LABEL_LENGTH_MAX else label[: LABEL_LENGTH_MAX - 1] + "…"
