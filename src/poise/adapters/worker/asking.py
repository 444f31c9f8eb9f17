"""What the worker answers as records of the model."""

from __future__ import annotations

import math
from collections import OrderedDict
from datetime import datetime
from typing import Final

import anyio.lowlevel
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from poise.adapters.worker.pool import QueryWorker
from poise.adapters.worker.wire import HowUsual, QueryRange, RulePart
from poise.model.anomaly import Usual
from poise.model.errors import PoiseError
from poise.model.rules import EvaluateRules, RuleResult, RulesEvaluated

_Sent = tuple[int, list[tuple[msgspec.Raw, list[msgspec.Raw]]]]
PATIENCE_S: Final = 2.0  # nobody waits longer for what is usual
ANSWERS_KEPT: Final = 16  # of ranges: four pages' worth in three windows


class AskedUsual:
    """``ports.signals.HowUsual`` by the worker."""

    def __init__(self, worker: QueryWorker) -> None:
        self._worker = worker

    async def __call__(self, service: str, since: datetime, until: datetime) -> Usual | None:
        """See the port."""
        since_ms, until_ms = (round(at.timestamp() * 1000) for at in (since, until))
        asked = HowUsual(service=service, since_ms=since_ms, until_ms=until_ms)
        try:
            answer = [piece async for piece in self._worker.ask("how_usual", asked, PATIENCE_S)]
        except PoiseError:
            return None
        return msgspec.msgpack.decode(b"".join(answer), type=Usual)


class Line(Struct, frozen=True, kw_only=True):
    """One series of an answer: its labels, and its values by instant (ms since the epoch); no NaN."""

    labels: dict[str, str]
    values: dict[int, float]


class _Data(Struct):
    result: list[_Series]


class _Series(Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []


class _Answer(Struct):
    data: _Data


class AskedRange:
    """An expression over a grid, by the worker. The last answers are kept: what is asked of is over.

    Raises what ``QueryWorker.ask`` does.
    """

    def __init__(self, worker: QueryWorker, keep: int = ANSWERS_KEPT) -> None:
        self._worker = worker
        self._keep = keep
        self._kept: OrderedDict[tuple[str, int, int, int], tuple[Line, ...]] = OrderedDict()

    async def __call__(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, seconds: float
    ) -> tuple[Line, ...]:
        """The series there are, each with its values on the grid."""
        key = (expression, start_ms, end_ms, step_ms)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        asked = QueryRange(expression=expression, start_ms=start_ms, end_ms=end_ms, step_ms=step_ms)
        text = b"".join([piece async for piece in self._worker.ask("query_range", asked, seconds)])
        answer = msgspec.json.decode(text, type=_Answer)
        self._kept[key] = lines = tuple(map(_line, answer.data.result))
        while len(self._kept) > self._keep:
            self._kept.popitem(last=False)
        return lines


def _line(one: _Series) -> Line:
    values = {round(at * 1000): float(value) for at, value in one.values}
    return Line(labels=one.metric, values={at: value for at, value in values.items() if math.isfinite(value)})


class AskedRules:
    """``ports.rules.EvaluateGroup`` by the worker."""

    def __init__(self, worker: QueryWorker) -> None:
        self._worker = worker

    async def __call__(self, asked: EvaluateRules, seconds: float) -> RulesEvaluated:
        """See the port."""
        answer = [piece async for piece in self._worker.ask("rules", asked, seconds)]
        at_ms, sent = msgspec.msgpack.decode(b"".join(answer), type=_Sent)
        results = []
        for place, (head, raw) in enumerate(sent):
            result = msgspec.msgpack.decode(head, type=RuleResult)
            parts = []
            for one in raw:
                parts.append(msgspec.msgpack.decode(one, type=RulePart))
                await anyio.lowlevel.checkpoint()  # one rule may have thousands of series
            series = tuple(labels for part in parts for labels in part.series)
            results.append(
                replace(
                    result,
                    series=asked.memories[place].series if result.same else series,
                    same=False,
                    values=tuple(value for part in parts for value in part.values),
                    gone=tuple(labels for part in parts for labels in part.gone),
                )
            )
        return RulesEvaluated(at_ms=at_ms, results=tuple(results))
