"""What two arms answered, from good, bad and total counters of any store that speaks PromQL.

Counters are read as series on a grid of instants that are whole multiples of the step, so that two questions
see the same past alike. What a series grew by is added up, restarts told apart; sums and rates are taken off.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import numpy as np
from msgspec import Struct

from poise.model.errors import Invalid
from poise.model.samples import Frame, Limits
from poise.ports.signals import SignalStore
from poise.spec.counter import NotCounted, counter

SETTLE_S: Final = 5.0  # what is younger may still arrive
SERIES_MAX: Final = 5000
POINTS_MAX: Final = 10_000
_MEND: Final = "Name counters of one and the same kind of request."


class Counters(Struct, frozen=True, kw_only=True):
    """One arm: its requests, and how many were bad or how many were good; selectors of counters."""

    total: str
    bad: str = ""
    good: str = ""


class Grown(Struct, frozen=True, kw_only=True):
    """One step: what both arms answered in it, ``at_s`` seconds from the start at its end."""

    at_s: float
    canary: float
    canary_bad: float
    baseline: float
    baseline_bad: float


async def grown(
    signals: SignalStore, canary: Counters, baseline: Counters, begin: datetime, now: datetime, step_s: float
) -> list[Grown]:
    """Each step of both arms, ascending, from ``begin`` until now. No series: an arm that answered nothing.

    Raises ``Invalid`` for a query that is no counter and for counters that contradict one another, and what
    the store raises.
    """
    step_ms = round(step_s * 1000)
    first = int(begin.timestamp() * 1000) // step_ms * step_ms
    last = int((now.timestamp() - SETTLE_S) * 1000) // step_ms * step_ms
    if last <= first:
        return []
    if (last - first) // step_ms > POINTS_MAX:
        raise Invalid(
            "POISE-E440", f"that is more than {POINTS_MAX:,} steps", where="step",
            mend="Make the step longer or the window shorter.",
        )  # fmt: skip
    asked = {f"{arm}.{role}": text for arm, one in (("canary", canary), ("baseline", baseline))
             for role, text in _roles(arm, one).items()}  # fmt: skip
    limits, found = Limits(series=SERIES_MAX, points=POINTS_MAX + 1), dict[str, np.ndarray]()
    for place, text in asked.items():
        found[place] = steps(await signals.query_range(text, first, last, step_ms, limits))
    sides = {arm: _side(arm, found) for arm in ("canary", "baseline")}
    return [
        Grown(at_s=(place + 1) * step_s, canary=c, canary_bad=x, baseline=b, baseline_bad=y)
        for place, (c, x, b, y) in enumerate(zip(*sides["canary"], *sides["baseline"], strict=True))
    ]


def steps(frame: Frame) -> np.ndarray:
    """What all counters of a frame grew by from each instant to the next: one number less than instants.

    A decrease is a restart: the new value counts. A series that begins, counts from there; one that is away
    for a while goes on from what it had.
    """
    if not len(frame.series):
        return np.zeros(max(0, len(frame.at_ms) - 1))
    values = np.where(frame.present, frame.values, np.nan)
    known = np.where(frame.present, np.arange(values.shape[1]), 0)
    last = np.take_along_axis(values, np.maximum.accumulate(known, axis=1), axis=1)
    before, after = last[:, :-1], values[:, 1:]
    more = np.where(after >= before, after - before, after)
    grew: np.ndarray = np.where(np.isnan(before) | np.isnan(after), 0.0, more).sum(axis=0)
    return grew


def _roles(arm: str, one: Counters) -> dict[str, str]:
    if bool(one.bad) == bool(one.good):
        raise Invalid(
            "POISE-E441", f"the {arm} needs its bad requests or its good ones, and only one of them",
            where=arm, mend="Write total and bad, each the selector of a counter.",
        )  # fmt: skip
    roles = {"total": one.total, "bad": one.bad, "good": one.good}
    found = {}
    for role, text in roles.items():
        if not text and role != "total":
            continue
        try:
            found[role] = counter(text).text
        except NotCounted as error:
            raise Invalid(
                "POISE-E442", f"nothing can be counted from this: {error}",
                where=f"{arm}.{role}:{error.offset + 1}", mend=error.mend,
            ) from None  # fmt: skip
    return found


def _side(arm: str, found: Mapping[str, np.ndarray]) -> tuple[list[float], list[float]]:
    """An arm's requests and bad ones by step. Parts that are read ahead of the whole are no contradiction."""
    total = found[f"{arm}.total"]
    bad = found[f"{arm}.bad"] if f"{arm}.bad" in found else np.cumsum(total - found[f"{arm}.good"])
    if f"{arm}.good" in found:
        # What is answered and not counted as good yet must not look like a failure that is taken back.
        bad = np.diff(np.maximum.accumulate(np.concatenate([[0.0], np.maximum(bad, 0.0)])))
    part = found.get(f"{arm}.good", bad).sum()
    if part > total.sum() + max(1.0, 0.01 * total.sum()):
        raise Invalid(
            "POISE-E443", f"the {arm} has {part:g} of a part and {total.sum():g} of the whole", where=arm,
            why="A part cannot be more than the whole.", mend=_MEND,
        )  # fmt: skip
    return total.tolist(), bad.tolist()
