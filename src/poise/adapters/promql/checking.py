"""Whether an expression can be a rule's, found without any data: at push time, at apply, by the CLI."""

from __future__ import annotations

import re
from typing import Final

from poise.adapters.memory_samples import MemorySamples
from poise.adapters.promql.engine import Engine
from poise.adapters.promql.parser import kind_of, parse
from poise.model.errors import PoiseError
from poise.spec.rules import ExpressionFault

_CHARACTER: Final = re.compile(r"character (\d+)")


def expression_fault(expression: str) -> ExpressionFault | None:
    """What is wrong with it; None when it can be evaluated to a scalar or an instant vector.

    It is evaluated once over nothing, so that functions and regular expressions that Poise does not know are
    found as well.
    """
    try:
        kind = kind_of(parse(expression))
        if kind in ("matrix", "string"):
            found = "range" if kind == "matrix" else kind
            what = f"a rule needs a scalar or an instant vector, this is a {found}"
            return ExpressionFault(what=what, mend="Wrap it, such as in rate(...).")
        Engine(MemorySamples()).instant(expression, 0)
    except PoiseError as error:
        place = _CHARACTER.fullmatch(error.where)
        offset = int(place[1]) - 1 if place else 0
        return ExpressionFault(what=error.what, offset=offset, mend=error.mend)
    return None
