"""Where rules are evaluated: a place whose interpreter nobody waits for."""

from __future__ import annotations

from typing import Protocol

from poise.model.rules import EvaluateRules, RulesEvaluated


class EvaluateGroup(Protocol):
    """Evaluates a group at one instant over the embedded metrics, within so many seconds.

    A rule that fails says so in its result. Raises ``TimedOut``, ``TooLarge`` and ``Unreachable`` where the
    whole group could not be evaluated.
    """

    async def __call__(self, asked: EvaluateRules, seconds: float) -> RulesEvaluated: ...
