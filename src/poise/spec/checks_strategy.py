"""Which keys of ``rollout`` belong to which strategy: what would have no effect is refused, never ignored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from poise.model.service import StrategyKind
from poise.spec.document import Mapping, Scalar
from poise.spec.problems import CONTRADICTION, Report
from poise.spec.read import ServiceDocument

_SHARED: Final = (StrategyKind.CANARY,)
BELONGS: Final[dict[str, tuple[StrategyKind, ...]]] = {
    **dict.fromkeys(
        (
            "steps", "step", "maxBake", "warmup", "relativeRiskMax", "budgetRiskShare", "minCanaryRequests",
            "onUnproven", "latency", "judgedBy",
        ),
        _SHARED,
    ),
    "alpha": (*_SHARED, StrategyKind.BLUE_GREEN),
    "promotion": (StrategyKind.BLUE_GREEN,),
    "keepWarm": (StrategyKind.BLUE_GREEN,),
}  # fmt: skip
"""Keys that are not here belong to every strategy."""


def check_strategies(found: Sequence[ServiceDocument], report: Report) -> None:
    """Each key of ``rollout`` belongs to the strategy that its own mapping names, else the one below it."""
    told: set[tuple[int, int]] = set()
    for document in found:
        kind = StrategyKind.CANARY
        for mapping in reversed(document.nodes):
            rollout = mapping.get("rollout")
            if isinstance(rollout, Mapping):
                kind = _written(rollout, kind)
                for key, _ in rollout.entries:
                    if (key.line, key.column) not in told and not _belongs(key, kind):
                        told.add((key.line, key.column))
                        _refuse(key, kind, report)


def _written(rollout: Mapping, below: StrategyKind) -> StrategyKind:
    node = rollout.get("strategy")
    known = isinstance(node, Scalar) and node.text in tuple(StrategyKind)
    return StrategyKind(node.text) if known and isinstance(node, Scalar) else below


def _belongs(key: Scalar, kind: StrategyKind) -> bool:
    return kind in BELONGS.get(key.text, tuple(StrategyKind))


def _refuse(key: Scalar, kind: StrategyKind, report: Report) -> None:
    others = " or ".join(f"'strategy: {one.value}'" for one in BELONGS[key.text])
    what = f"'{key.text}' has no meaning for strategy '{kind.value}'"
    report.add(CONTRADICTION, key, what, mend=f"Remove it, or write {others}.")
