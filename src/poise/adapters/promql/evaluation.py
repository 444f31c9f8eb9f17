"""What functions see of the query they are part of."""

from __future__ import annotations

from typing import Protocol

from poise.adapters.promql.parser import Expr, Select
from poise.adapters.promql.vectors import Vector
from poise.adapters.promql.windows import Windows
from poise.model.samples import Instants, Values

Value = Vector | Values | str


class Evaluation(Protocol):
    """One evaluation: its grid, its arguments' values, and what there is to say beside the answer."""

    start_ms: int
    end_ms: int
    step_ms: int
    warnings: dict[str, None]
    infos: dict[str, None]

    def vector(self, node: Expr, at_ms: Instants) -> Vector: ...

    def scalar(self, node: Expr, at_ms: Instants) -> Values: ...

    def text(self, node: Expr) -> str: ...

    def instants(self, node: Select, at_ms: Instants) -> tuple[Vector, Instants]: ...

    def windows(self, node: Expr, at_ms: Instants) -> list[Windows]: ...
