"""PromQL in numpy: an expression and a ``Selector`` in, a ``Frame`` out.

It decides what a query means, as Prometheus 3.x does, for floats and classic histograms. It reads through
the ``Selector`` it is given and nothing else; it never writes, never waits and knows no clock but the one
that bounds a query's time.

``parser`` is the only module that knows promql-parser; ``engine`` walks its tree; ``windows`` cuts range
vectors out of blocks; the rest are the operators and functions over whole grids ``[series, steps]``.
"""

from poise.adapters.promql.engine import Engine
from poise.adapters.promql.errors import QueryInvalid, QueryTimedOut, QueryTooLarge, Unsupported
from poise.adapters.promql.parser import parse

__all__ = ["Engine", "QueryInvalid", "QueryTimedOut", "QueryTooLarge", "Unsupported", "parse"]
