"""Objectives made of others: slices of a journey, and what dependencies allow. Pure.

A journey is counted in slices of time, since the events of its steps are not the same ones: in a slice
every step has a ratio, and the composite's follows from them.
Source: OpenSLO v1 README, "Notes (Composite SLO)"; Nobl9, Composite SLO 2.0 (weights, late components);
series and parallel systems: Trivedi, Probability and Statistics with Reliability, chapter 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from poise.model.objective import Combination, Composite, Objective, WhenDelayed
from poise.model.slices import Slice

_INSTEAD: Final = {WhenDelayed.COUNT_AS_GOOD: 1.0, WhenDelayed.COUNT_AS_BAD: 0.0}
DEPTH_MAX: Final = 10
_TOLERANCE: Final = 1e-12


class Waiting(Struct, frozen=True, kw_only=True):
    """What the components said of slices that are not combined yet: by slice's end, component -> ratio."""

    said: dict[float, dict[str, float]] = {}
    done_s: float = -math.inf


class Infeasible(Struct, frozen=True, kw_only=True):
    """A target that cannot be met given the objectives it requires: at best ``ceiling_ratio``."""

    objective: str
    target_ratio: float
    ceiling_ratio: float
    because: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """One line for people."""
        names = " and ".join(_short(key) for key in self.because)
        return (
            f"this target ({self.target_ratio:.4%}) cannot be met given {names}: "
            f"at best {self.ceiling_ratio:.4%}"
        )


def combine(
    waiting: Waiting,
    said: Mapping[str, Iterable[Slice]],
    composite: Composite,
    now_s: float,
) -> tuple[Waiting, tuple[Slice, ...]]:
    """Take in slices of components (by key) and combine those that are complete or too late to wait for.

    ``max_delay_s`` counts from a slice's end. Slices come out ascending; what is told of one that was
    combined already is left out.
    """
    open_: dict[float, dict[str, float]] = {end: dict(one) for end, one in waiting.said.items()}
    for key, slices in said.items():
        for one in slices:
            if one.end_s > waiting.done_s:
                open_.setdefault(one.end_s, {})[key] = one.good
    done_s, found = waiting.done_s, []
    for end_s in sorted(open_):
        complete = len(open_[end_s]) == len(composite.components)
        if not complete and now_s < end_s + composite.max_delay_s:
            break  # in order: a later one waits for this one
        ratio = combined(open_.pop(end_s), composite)
        done_s = end_s
        if ratio is not None:
            found.append(Slice(end_s, ratio, 1.0 - ratio))
    return Waiting(said=open_, done_s=done_s), tuple(found)


def combined(ratios: Mapping[str, float], composite: Composite) -> float | None:
    """The composite's ratio in one slice, 0..1, out of what its components said; None when unknown.

    All of: the product, since a user goes through every step. Any of: one minus the product of the failures.
    Weighted: the weighted mean. Burn: what is missing to 1 adds up, each times its weight.

    >>> steps = (Component(objective="a"), Component(objective="b"))
    >>> round(combined({"a": 0.9, "b": 0.5}, Composite(combination=Combination.ALL_OF, components=steps)), 6)
    0.45
    >>> combined({"a": 0.9}, Composite(combination=Combination.ALL_OF, components=steps)) is None
    True
    """
    known = [(one.weight, ratios[one.objective]) for one in composite.components if one.objective in ratios]
    late = [one for one in composite.components if one.objective not in ratios]
    if late and composite.when_delayed is WhenDelayed.UNKNOWN:
        return None
    if composite.when_delayed in _INSTEAD:
        known += [(one.weight, _INSTEAD[composite.when_delayed]) for one in late]
    if not known:
        return None
    match composite.combination:
        case Combination.ALL_OF:
            return math.prod(ratio for _, ratio in known)
        case Combination.ANY_OF:
            return 1.0 - math.prod(1.0 - ratio for _, ratio in known)
        case Combination.WEIGHTED:
            return sum(weight * ratio for weight, ratio in known) / sum(weight for weight, _ in known)
        case Combination.BURN:
            return max(0.0, 1.0 - sum(weight * (1.0 - ratio) for weight, ratio in known))


def ceiling(objective: Objective, objectives: Mapping[str, Objective]) -> float:
    """The best ratio that ``objective`` can reach if everything that it requires just keeps its target, 0..1.

    What is required is required in turn; each objective counts once. A required one that is not in
    ``objectives`` sets no bound.
    """
    return math.prod(objectives[key].target_ratio for key in _required(objective, objectives))


def infeasible(objectives: Iterable[Objective]) -> tuple[Infeasible, ...]:
    """Every objective whose target is above what its dependencies allow, in the order given.

    A composite of all steps requires its steps; alternatives allow one minus the product of what they miss.
    """
    by_key = {one.key: one for one in objectives}
    found = []
    for one in by_key.values():
        steps = one.composite
        if steps is not None and steps.combination is Combination.BURN:
            steps = None  # its target follows from its components': nobody promised it
        own = {part.objective for part in steps.components} if steps is not None else set()
        because = tuple(key for key in _required(one, by_key) if key not in own)  # each counts once
        best = math.prod(by_key[key].target_ratio for key in because)
        if steps is not None and all(part.objective in by_key for part in steps.components):
            targets = {part.objective: by_key[part.objective].target_ratio for part in steps.components}
            best *= combined(targets, steps) or 0.0
            because += tuple(targets)
        if best < one.target_ratio - _TOLERANCE:
            found.append(
                Infeasible(
                    objective=one.key, target_ratio=one.target_ratio, ceiling_ratio=best,
                    because=tuple(dict.fromkeys(because)),
                )
            )  # fmt: skip
    return tuple(found)


def _required(objective: Objective, objectives: Mapping[str, Objective]) -> tuple[str, ...]:
    """Keys of what it requires, directly and in turn, nearest first, itself never."""
    found: dict[str, None] = {}
    ahead = list(objective.requires)
    for _ in range(DEPTH_MAX):
        ahead = [key for key in ahead if key in objectives and key not in found and key != objective.key]
        found |= dict.fromkeys(ahead)
        ahead = [further for key in ahead for further in objectives[key].requires]
    return tuple(found)


def _short(key: str) -> str:
    """``payments/availability`` of a key."""
    return "/".join(key.split("/")[-2:])
