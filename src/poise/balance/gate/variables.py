"""What a condition may ask for, out of what the gate has read; None is not known, and not zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from poise.balance.gate.facts import Question
from poise.model.balance import Budget
from poise.model.service import Service
from poise.spec.condition import Value


def values_of(
    question: Question,
    service: Service,
    budgets: Sequence[Budget],
    incidents: int | None,
    overdue: int | None,
    now: datetime,
    exhaustion: float | None = None,
) -> dict[str, Value | None]:
    """By name, every variable that ``spec.condition`` declares; a number that lacks in one budget lacks."""
    return {
        "left": _of((one.left_ratio for one in budgets), min),
        "burn_5m": _burn(budgets, 300.0),
        "burn_1h": _burn(budgets, 3600.0),
        "burn_6h": _burn(budgets, 21_600.0),
        "burn_3d": _burn(budgets, 259_200.0),
        "coverage": _of((one.coverage_ratio for one in budgets), min),
        "exhaustion": exhaustion,
        "rate_per_s": _of((one.rate_per_s for one in budgets), max),
        "incidents": incidents,
        "overdue": overdue,
        "change_class": question.change_class.value,
        "service": service.name,
        "environment": service.environment,
        "project": service.project,
        "first_release": question.first_release,
        "weight_percent": question.weight_percent,
        "from_percent": question.from_percent,
        "weekday": now.isoweekday(),
        "hour": now.hour,
        "now": now,
    }


def _burn(budgets: Sequence[Budget], window_s: float) -> float | None:
    rates = [next((burn.rate for burn in one.burns if burn.window_s == window_s), None) for one in budgets]
    return _of(rates, max)


def _of(numbers: Iterable[float | None], pick: Callable[[list[float]], float]) -> float | None:
    found: list[float] = []
    for number in numbers:
        if number is None or not math.isfinite(number):
            return None
        found.append(number)
    return pick(found) if found else None
