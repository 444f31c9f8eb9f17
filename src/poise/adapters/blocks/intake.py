"""What of a reading is new, known, or refused, before anything is written.

It decides from the labels alone and from what each target gave before; the few samples that are not newer
than all of their target's are left to be compared with what the file holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from poise.adapters.blocks.index import Ids
from poise.model.samples import Labels, Reading, Refusal

NEVER = -(1 << 62)
LAYOUTS_KEPT = 64  # of one target; a target that gives more shapes is looked up by its series anew


class Caps(Struct, frozen=True, kw_only=True):
    """What one target may bring."""

    series: int = 20_000  # of one target between two seals
    total: int = 1_000_000  # series in the store
    labels: int = 64  # of one series
    label_bytes: int = 4096  # of one name or value
    out_of_order_ms: int = 3_600_000
    future_ms: int = 600_000


class Layout(NamedTuple):
    """The series of a target's readings: its number, theirs, and what was refused of them."""

    number: int
    series: tuple[Labels, ...]
    ids: Ids
    kept: Ids | None  # places within the reading's series; None is all
    refused: tuple[tuple[str, int, Labels], ...]
    shared: bool  # another target gives some of them too


class Target:
    """What is known of one target."""

    def __init__(self, name: str, newest_ms: int = NEVER) -> None:
        self.name = name
        self.newest_ms = newest_ms
        self.layouts: list[Layout] = []
        self.seen: set[int] = set()

    def known(self, series: tuple[Labels, ...]) -> Layout | None:
        """The layout of exactly these series."""
        for one in self.layouts:
            if one.series is series:
                return one
        for place, one in enumerate(self.layouts):
            if one.series == series:
                again = one._replace(series=series)
                self.layouts[place] = again
                return again
        return None

    def learn(self, layout: Layout) -> None:
        """A new one, first to be looked at."""
        self.layouts = [layout, *self.layouts[: LAYOUTS_KEPT - 1]]
        self.seen.update(layout.ids.tolist())


class Sorted(NamedTuple):
    """A reading's series told apart: places kept, the labels that are new, and refusals by reason."""

    places: list[int]
    labels: list[Labels]
    refused: tuple[tuple[str, int, Labels], ...]


def sort(series: Sequence[Labels], known: dict[Labels, int], seen: set[int], caps: Caps) -> Sorted:
    """Which series of a reading are kept: no label bombs, none twice, none past the target's cap."""
    places: list[int] = []
    labels: list[Labels] = []
    refused: dict[str, tuple[int, Labels]] = {}
    taken: set[Labels] = set()
    room = caps.series - len(seen)
    fresh = 0
    for place, one in enumerate(series):
        reason = ""
        if _too_large(one, caps):
            reason = "label-limit"
        elif one in taken:
            reason = "duplicate"
        elif known.get(one) not in seen:
            grows = one not in known
            if room <= 0 or (grows and len(known) + fresh >= caps.total):
                reason = "series-limit"
            else:
                room -= 1
                fresh += grows
        if reason:
            count, example = refused.get(reason, (0, one))
            refused[reason] = (count + 1, example)
            continue
        taken.add(one)
        places.append(place)
        labels.append(one)
    return Sorted(places, labels, tuple((why, *what) for why, what in refused.items()))


def _too_large(labels: Labels, caps: Caps) -> bool:
    return len(labels) > caps.labels or any(
        len(name) > caps.label_bytes or len(value) > caps.label_bytes for name, value in labels
    )


def refusals(target: str, found: Sequence[tuple[str, int, Labels]]) -> list[Refusal]:
    """As the port tells them."""
    return [
        Refusal(reason=why, target=target, count=count, example=one) for why, count, one in found if count
    ]


def ascending(reading: Reading) -> bool:
    """Whether a reading's instants ascend strictly."""
    at_ms = reading.at_ms
    return len(at_ms) < 2 or bool((at_ms[1:] > at_ms[:-1]).all())
