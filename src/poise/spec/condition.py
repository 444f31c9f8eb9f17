"""Conditions of a budget policy in CEL: compiled at the edge, evaluated with declared variables only.

An expression has no loops and at most ``CONDITION_CHARS`` characters, so it always ends soon. What cannot be
evaluated is a ``problem`` and never a false: the gate holds.

Source: Common Expression Language, google/cel-spec.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from poise.model.policy import Checked, Condition
from poise.spec import limits
from poise.spec.problems import nearest, shown

if TYPE_CHECKING:
    import cel

Value = str | int | float | bool | datetime
Values = Mapping[str, Value | None]

_NOW: Final = datetime(2026, 1, 5, 12, tzinfo=UTC)
VARIABLES: Final[dict[str, tuple[Value, Value, str]]] = {  # a low and a high sample, for the check on push
    "left": (-1.0, 1.0, "What is left of the worst objective's budget, 1.0 for all of it."),
    "burn_5m": (0.0, 100.0, "The highest burn rate of the last 5 minutes."),
    "burn_1h": (0.0, 100.0, "The highest burn rate of the last hour."),
    "burn_6h": (0.0, 100.0, "The highest burn rate of the last 6 hours."),
    "burn_3d": (0.0, 100.0, "The highest burn rate of the last 3 days."),
    "coverage": (0.0, 1.0, "The measured share of time, of the objective that is measured least."),
    "exhaustion": (0.0, 1.0, "The highest chance that a budget is spent within its forecast."),
    "rate_per_s": (0.0, 1e4, "Events a second, of the busiest objective."),
    "incidents": (0, 9, "Open incidents that page, of the service or one that it needs."),
    "overdue": (0, 9, "Overdue actions of its post-mortems."),
    "change_class": ("feature", "fix", "feature, fix, security or rollback."),
    "service": ("shop", "a", "The service's name."),
    "environment": ("production", "staging", "The environment's name."),
    "project": ("acme", "b", "The project's name."),
    "first_release": (False, True, "Whether nothing of it is live."),
    "weight_percent": (0, 100, "The weight that is asked for."),
    "from_percent": (0, 100, "The weight that it has."),
    "weekday": (1, 7, "The day of the week in UTC, 1 for Monday."),
    "hour": (0, 23, "The hour of the day in UTC."),
    "now": (_NOW, _NOW.replace(year=2027), "The instant of the question."),
}
FUNCTIONS: Final = (
    "size", "contains", "startsWith", "endsWith", "matches", "int", "double", "string", "timestamp",
    "duration", "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear",
    "getHours", "getMinutes",
)  # fmt: skip
_LOOP: Final = re.compile(r"\.\s*(map|filter|all|exists|exists_one|existsOne)\s*\(")
_PLACE: Final = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?(.*)")
_MISSING: Final = re.compile(r"Undefined variable or function: '([^']*)'")


class NotACondition(ValueError):
    """A text that is no condition: ``what``, at which character, and how to mend it."""

    def __init__(self, what: str, offset: int, mend: str) -> None:
        super().__init__(what)
        self.what, self.offset, self.mend = what, offset, mend


def check_condition(text: str) -> None:
    """Raise ``NotACondition`` unless ``text`` parses, names what is declared, and yields true or false."""
    if len(text) > limits.CONDITION_CHARS:
        what = f"a condition has at most {limits.CONDITION_CHARS} characters"
        raise NotACondition(what, limits.CONDITION_CHARS, "Split it into several conditions.")
    if loop := _LOOP.search(text):
        raise NotACondition(f"{loop[1]}() is not allowed in a condition", loop.start(1), "Write it out.")
    program = _parsed(text)
    for name in program.variables():
        if name not in VARIABLES:
            raise NotACondition(
                f"unknown variable {shown(name)}", _offset(text, name), nearest(name, VARIABLES)
            )
    for name in program.functions():
        if name.isidentifier() and name not in FUNCTIONS and not name.startswith("_"):
            raise NotACondition(
                f"unknown function {shown(name)}", _offset(text, name), nearest(name, FUNCTIONS)
            )
    for sample in range(4):
        _try(program, text, sample)


def evaluate(condition: Condition, values: Values) -> Checked:
    """Whether the condition holds of these values; a value that is None, or no number, is not known."""
    known = {name: value for name, value in values.items() if value is not None and _is_plain(value)}
    try:
        result = _compiled(condition.when).execute(known)
    except Exception as error:  # the evaluator raises what it likes; each of it means: nobody can tell
        return Checked(condition=condition, problem=_why(error))
    if not isinstance(result, bool):
        return Checked(condition=condition, problem="it yields neither true nor false")
    return Checked(condition=condition, holds=result)


@lru_cache(maxsize=1024)
def _compiled(text: str) -> cel.Program:
    import cel  # 11 MB of it, for policies that have conditions

    return cel.compile(text)


def _parsed(text: str) -> cel.Program:
    try:
        return _compiled(text)
    except Exception as error:
        found = _PLACE.search(str(error))
        if found is None:
            raise NotACondition("this is no CEL expression", 0, "Write e.g. 'left < 0.2'.") from error
        lines = text.split("\n")
        line = min(int(found[1]), len(lines))
        offset = sum(len(one) + 1 for one in lines[: line - 1]) + int(found[2]) - 1
        said = re.sub(r" expecting \{.*", "", found[3])
        raise NotACondition(
            f"this is no CEL expression: {said}", min(offset, len(text)), "Write e.g. 'left < 0.2'."
        ) from error


def _try(program: cel.Program, text: str, sample: int) -> None:
    """Run it on samples: low, high, and both ways mixed, so that a wrong type shows before it matters."""
    values = {
        name: (low, high)[sample if sample < 2 else (index + sample) % 2]
        for index, (name, (low, high, _)) in enumerate(VARIABLES.items())
    }
    try:
        result = program.execute(values)
    except Exception as error:
        mend = "Compare numbers with numbers and texts with texts."
        raise NotACondition(f"it cannot be evaluated: {_why(error)}", 0, mend) from error
    if not isinstance(result, bool):
        what = f"it yields {shown(str(result))}, neither true nor false"
        raise NotACondition(what, 0, f"Compare it, e.g. '{text[:40]} < 0.2'.")


def _is_plain(value: Value) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _offset(text: str, name: str) -> int:
    found = re.search(rf"(?<![\w.]){re.escape(name)}\b", text) or re.search(re.escape(name), text)
    return found.start() if found else 0


def _why(error: Exception) -> str:
    if missing := _MISSING.search(str(error)):
        return f"'{missing[1]}' is not known"
    return str(error).split(". ")[0].split("\n")[0][:200]
