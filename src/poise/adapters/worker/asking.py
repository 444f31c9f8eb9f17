"""What the worker answers as records of the model."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import anyio.lowlevel
import msgspec
from msgspec.structs import replace

from poise.adapters.worker.pool import QueryWorker
from poise.adapters.worker.wire import HowUsual, RulePart
from poise.model.anomaly import Usual
from poise.model.errors import PoiseError
from poise.model.rules import EvaluateRules, RuleResult, RulesEvaluated

_Sent = tuple[int, list[tuple[msgspec.Raw, list[msgspec.Raw]]]]
PATIENCE_S: Final = 2.0  # nobody waits longer for what is usual


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
