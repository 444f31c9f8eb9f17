"""What a worker can be asked, by name. A further job is one more line in ``JOBS``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from poise.adapters.promql import Engine, QueryInvalid, parse
from poise.adapters.promql.parser import Paren, Select
from poise.adapters.rules import evaluate
from poise.adapters.worker import answers
from poise.adapters.worker.usual import how_usual
from poise.adapters.worker.wire import Ask, Describe, Find, HowUsual, Query, QueryRange, parted
from poise.model.errors import Invalid
from poise.model.rules import EvaluateRules
from poise.model.samples import Labels, Limits, Matcher, Metadata
from poise.ports.signals import Selector

Selectors = Sequence[Sequence[Matcher]]


class Reader(Selector, Protocol):
    """A metrics database that is only read; ``poise.adapters.blocks.BlockReader``, or a fake of it."""

    def series(self, selectors: Selectors, start_ms: int, end_ms: int) -> list[Labels]: ...

    def label_names(self, selectors: Selectors, start_ms: int, end_ms: int) -> list[str]: ...

    def label_values(self, label: str, selectors: Selectors, start_ms: int, end_ms: int) -> list[str]: ...

    def metadata(self, name: str = "") -> list[Metadata]: ...

    def close(self) -> None: ...


def answer(reader: Reader, asked: Ask) -> Iterator[bytes]:
    """The job's answer in pieces. Raises ``Invalid`` for a job there is not, and what the job raises."""
    found = JOBS.get(asked.job)
    if found is None:
        known = ", ".join(JOBS)
        raise Invalid("POISE-W101", f"no job {asked.job!r}", why=f"The jobs there are: {known}.")
    return found(reader, asked.argument, asked.seconds)


def _instant(reader: Reader, asked: Query, seconds: float) -> Iterator[bytes]:
    engine = Engine(reader, _within(asked.limits, seconds), lookback_ms=asked.lookback_ms)
    frame = engine.instant(asked.expression, asked.at_ms)
    return answers.of_frame(frame, series=asked.series, cost=asked.cost)


def _range(reader: Reader, asked: QueryRange, seconds: float) -> Iterator[bytes]:
    engine = Engine(reader, _within(asked.limits, seconds), lookback_ms=asked.lookback_ms)
    frame = engine.range(asked.expression, asked.start_ms, asked.end_ms, asked.step_ms)
    return answers.of_frame(frame, series=asked.series, cost=asked.cost)


def _series(reader: Reader, asked: Find, _seconds: float) -> Iterator[bytes]:
    found = reader.series(selectors_of(asked.selectors), asked.start_ms, asked.end_ms)
    return answers.of_series(found, asked.items)


def _label_names(reader: Reader, asked: Find, _seconds: float) -> Iterator[bytes]:
    found = reader.label_names(selectors_of(asked.selectors), asked.start_ms, asked.end_ms)
    return answers.of_items(found, asked.items)


def _label_values(reader: Reader, asked: Find, _seconds: float) -> Iterator[bytes]:
    selectors = selectors_of(asked.selectors)
    found = reader.label_values(asked.label, selectors, asked.start_ms, asked.end_ms)
    return answers.of_items(found, asked.items)


def _metadata(reader: Reader, asked: Describe, _seconds: float) -> Iterator[bytes]:
    found = reader.metadata(asked.name)
    shown = found[: asked.items] if asked.items else found
    return answers.of_value(
        {one.name: [{"type": one.kind.value, "help": one.help, "unit": one.unit}] for one in shown}
    )


def _rules(reader: Reader, asked: EvaluateRules, seconds: float) -> Iterator[bytes]:
    """Rule by rule. Series that are those of the time before are left out: the asker has them."""
    done = evaluate(asked, reader, Limits(seconds=seconds))
    sent = []
    for place, result in enumerate(done.results):
        known = asked.memories[place].series if place < len(asked.memories) else ()
        same = bool(known) and result.series == known
        sent.append(parted(replace(result, series=(), same=True) if same else result))
    yield msgspec.msgpack.encode((done.at_ms, sent))


def selectors_of(texts: Sequence[str]) -> list[tuple[Matcher, ...]]:
    """Matcher lists of selectors such as ``up{job="shop"}``. Raises ``QueryInvalid`` for anything else."""
    found: list[tuple[Matcher, ...]] = []
    for text in texts:
        tree = parse(text)
        while isinstance(tree, Paren):
            tree = tree.expr
        if not isinstance(tree, Select) or tree.offset_ms or tree.at is not None:
            raise QueryInvalid(
                f"invalid series selector {text!r}", mend='Write up{job="shop"}.', parsed=False
            )
        if any(all(one.value == "" for one in matchers) for matchers in tree.alternatives):
            raise QueryInvalid(
                "match[] must contain at least one non-empty matcher", mend="Name a metric.", parsed=False
            )
        found += tree.alternatives
    return found


def _within(limits: Limits, seconds: float) -> Limits:
    return replace(limits, seconds=min(limits.seconds, seconds))


Job = Callable[[Reader, msgspec.Raw, float], Iterator[bytes]]


def _job(kind: type[Struct], done: Callable[[Reader, Any, float], Iterator[bytes]]) -> Job:
    decoder = msgspec.msgpack.Decoder(kind)
    return lambda reader, raw, seconds: done(reader, decoder.decode(raw), seconds)


JOBS: Final[dict[str, Job]] = {
    "query": _job(Query, _instant),
    "query_range": _job(QueryRange, _range),
    "series": _job(Find, _series),
    "label_names": _job(Find, _label_names),
    "label_values": _job(Find, _label_values),
    "metadata": _job(Describe, _metadata),
    "how_usual": _job(HowUsual, how_usual),
    "rules": _job(EvaluateRules, _rules),
}
