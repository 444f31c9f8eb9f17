"""Which keys of ``rollout`` belong to which strategy: what would have no effect is refused, never ignored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from poise.model.service import StrategyKind
from poise.spec.document import Mapping, Scalar
from poise.spec.problems import CONTRADICTION, Report
from poise.spec.read import ServiceDocument

_SPLIT: Final = (StrategyKind.CANARY, StrategyKind.MIRROR)
_COMPARED: Final = (*_SPLIT, StrategyKind.ROLLING)
BELONGS: Final[dict[str, tuple[StrategyKind, ...]]] = {
    **dict.fromkeys(
        (
            "steps", "step", "maxBake", "relativeRiskMax", "budgetRiskShare", "minCanaryRequests",
            "onUnproven", "onSilence", "probePath",
        ),
        _SPLIT,
    ),
    "judgedBy": _COMPARED,
    **dict.fromkeys(("warmup", "latency"), (*_COMPARED, StrategyKind.BLUE_GREEN)),
    "alpha": (*_COMPARED, StrategyKind.BLUE_GREEN),
    **dict.fromkeys(("maxSurge", "maxUnavailable", "minReady"), (StrategyKind.ROLLING,)),
    "mirror": (StrategyKind.MIRROR,),
    "preview": (*_SPLIT, StrategyKind.BLUE_GREEN),
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
                _check_room(rollout, report)
                _check_preview(rollout, report)
                for key, _ in rollout.entries:
                    if (key.line, key.column) not in told and not _belongs(key, kind):
                        told.add((key.line, key.column))
                        _refuse(key, kind, report)


def _check_room(rollout: Mapping, report: Report) -> None:
    """A rolling update needs room for at least one replica, above or below."""
    surge, lacking = rollout.get("maxSurge"), rollout.get("maxUnavailable")
    none = [isinstance(one, Scalar) and one.text in ("0", "0%") for one in (surge, lacking)]
    if lacking is not None and all(none):
        what = "'maxSurge' and 'maxUnavailable' are both 0, so no replica could be replaced"
        report.add(CONTRADICTION, lacking, what, mend="Make one of them at least 1.")


def _check_preview(rollout: Mapping, report: Report) -> None:
    """Exactly one way to ask for it: with two nobody knows which was meant."""
    preview = rollout.get("preview")
    keys = {key.text for key, _ in preview.entries} if isinstance(preview, Mapping) else set()
    if isinstance(preview, Mapping) and len({"header", "cookie"} & keys) != 1:
        what = "'preview' needs a header or a cookie, and only one of them"
        report.add(CONTRADICTION, preview, what, mend="Write 'preview: {header: x-poise-preview}'.")


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
