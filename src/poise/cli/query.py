"""Query: PromQL at the command line, as a table at one instant and as a chart over time."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from msgspec import Struct

from poise.api.prometheus_form import duration_ms, instant_ms
from poise.cli import output, plot
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, project_of
from poise.model.errors import Invalid

Point = tuple[float, str]
CHARTED = len(plot.COLOURS)  # lines that can be told apart
LISTED = 200
WIDTH = 80  # where the terminal does not say


class _Series(Struct, frozen=True):
    metric: dict[str, str] = {}
    value: Point | None = None
    values: tuple[Point, ...] = ()


class _Data(Struct, frozen=True):
    resultType: str
    result: msgspec.Raw


class _Answer(Struct, frozen=True):
    data: _Data
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()


def query(
    expression: str,
    *,
    at: Annotated[str | None, Parameter(help="The instant: RFC 3339 or Unix seconds; now.")] = None,
    since: Annotated[str | None, Parameter(help="Over this time until then, e.g. 1h: a chart.")] = None,
    step: Annotated[str | None, Parameter(help="Between two points, e.g. 15s; fits the width.")] = None,
    source: Annotated[str | None, Parameter(help="A declared data source instead of our metrics.")] = None,
    common: Common = COMMON,
) -> None:
    """Ask the metrics in PromQL: a table now, or a chart with --since.

    Parameters
    ----------
    expression
        PromQL, such as 'sum by (job) (rate(http_requests_total[5m]))'.
    """
    asked: dict[str, Any] = {"query": expression, "source": source}
    if source:
        asked["project"] = project_of(common)
    end_s = _end_s(at)
    if since is None:
        path, asked["time"] = "/api/v1/query", f"{end_s:.3f}"
    else:
        begin_s, step_s = _grid(end_s, since, step)
        path = "/api/v1/query_range"
        asked |= {"start": f"{begin_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:.3f}"}
    with Client(common) as client:
        if common.json:
            output.data(client.get(path, msgspec.Raw, **asked))
            return
        answer = client.get(path, _Answer, **asked)
    output.talk(common, *answer.warnings, *answer.infos)
    if since is None:
        _table(answer.data)
    else:
        _chart(_series_of(answer.data), begin_s, end_s)


def _end_s(at: str | None) -> float:
    if at is None:
        return time.time()
    found = instant_ms(at)
    if found is None:
        mend = "Write 2026-03-01T12:00:00Z or Unix seconds."
        raise Invalid("POISE-E210", f"'{at}' is no instant", mend=mend)
    return found / 1000


def _grid(end_s: float, since: str, step: str | None) -> tuple[float, float]:
    span_ms = duration_ms(since)
    if not span_ms or span_ms < 0:
        raise Invalid("POISE-E211", f"--since {since} is no duration", mend="Write e.g. --since 1h.")
    step_ms = duration_ms(step) if step else max(1000, span_ms // (2 * _width()))
    if not step_ms or step_ms < 0:
        raise Invalid("POISE-E211", f"--step {step} is no duration", mend="Write e.g. --step 15s.")
    return end_s - span_ms / 1000, step_ms / 1000


def _series_of(data: _Data) -> list[_Series]:
    if data.resultType in ("scalar", "string"):
        return [_Series(value=msgspec.json.decode(data.result, type=Point))]
    return msgspec.json.decode(data.result, type=list[_Series])


def _table(data: _Data) -> None:
    found = _series_of(data)
    if not found:
        output.say("Nothing there at this instant.")
        return
    rows = []
    for one in found[:LISTED]:
        points = [one.value] if one.value else list(one.values)
        rows.append((name_of(one.metric), " ".join(text for _, text in points)))
    output.table(("series", "value"), rows)
    _more(len(found), LISTED)


def _chart(found: list[_Series], begin_s: float, end_s: float) -> None:
    if not found:
        output.say("Nothing there in this time.")
        return
    lines = [[(at_s, float(text)) for at_s, text in one.values] for one in found]
    colour, width = _colour(), _width()
    if len(found) > 1 and not colour:  # lines of one colour cannot be told apart
        _sparks(found[:LISTED], lines, (begin_s, end_s), width)
        _more(len(found), LISTED)
        return
    shown = lines[:CHARTED]
    for row in plot.chart(shown, plot.scale_of(shown, begin_s, end_s), width, colour=colour):
        output.say(row)
    for place, (one, line) in enumerate(zip(found, shown, strict=False)):
        last = plot.number(line[-1][1]) if line else "–"
        output.say(plot.legend(place, f"{name_of(one.metric)}  {last}", colour=colour))
    _more(len(found), CHARTED)


def _sparks(
    found: list[_Series], lines: list[list[tuple[float, float]]], span: tuple[float, float], width: int
) -> None:
    names = [name_of(one.metric) for one in found]
    room = max(16, min(60, width - max(map(len, names)) - 40))
    rows = []
    for name, line in zip(names, lines, strict=False):
        values = [value for _, value in line] or [float("nan")]
        bars = plot.spark(line, plot.scale_of([line], *span), room)
        rows.append((name, bars, *(plot.number(one) for one in (min(values), max(values), values[-1]))))
    output.table(("series", "", "min", "max", "last"), rows)


def _more(count: int, shown: int) -> None:
    if count > shown:
        output.say(f"… and {count - shown} more: aggregate, or use topk({shown}, …).")


def name_of(metric: dict[str, str]) -> str:
    """``name{label="value"}``."""
    rest = ", ".join(f'{key}="{value}"' for key, value in sorted(metric.items()) if key != "__name__")
    name = metric.get("__name__", "")
    return f"{name}{{{rest}}}" if rest or not name else name


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _width() -> int:
    return max(40, min(240, shutil.get_terminal_size((WIDTH, 24)).columns))
