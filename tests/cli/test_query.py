"""``poise query`` shows what the metrics say, and clearly says when it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from poise.cli import plot, query
from poise.cli.client import _error_of
from poise.cli.entry import run
from poise.model.errors import Invalid, PoiseError, TimedOut, Unreachable

VECTOR = {"resultType": "vector", "result": [{"metric": {"__name__": "up", "job": "a"}, "value": [600, "1"]}]}
MATRIX = {
    "resultType": "matrix",
    "result": [
        {"metric": {"job": name}, "values": [[at, str(at * k % 7)] for at in range(0, 600, 15)]}
        for k, name in ((1, "a"), (2, "b"))
    ],
}


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command against a server that answers with ``data``: exit code, stdout, stderr, the question."""

    def ask(data: Any, *words: str) -> tuple[int, str, str, dict[str, Any]]:
        seen: dict[str, Any] = {}

        class Server:
            def __init__(self, common: Any) -> None: ...
            def __enter__(self) -> Server:
                return self

            def __exit__(self, *_: object) -> None: ...
            def get(self, path: str, answer: Any, **asked: Any) -> Any:
                seen.update(asked, path=path)
                body = msgspec.json.encode({"status": "success", "data": data, "warnings": ["careful"]})
                return msgspec.json.decode(body, type=answer)

        monkeypatch.setattr(query, "Client", Server)
        code = run(["query", *words])
        out, err = capsys.readouterr()
        return code, out, err, seen

    return ask


def test_an_instant_is_a_table(ask: Callable[..., Any]) -> None:
    code, out, err, seen = ask(VECTOR, "up", "--at", "1970-01-01T00:10:00Z")
    assert (code, seen["path"], seen["time"]) == (0, "/api/v1/query", "600.000")
    assert out.splitlines()[1] == 'up{job="a"}  1'
    assert "careful" in err
    scalar = ask({"resultType": "scalar", "result": [600, "0.5"]}, "1/2")[1]
    assert "0.5" in scalar
    assert "Nothing" in ask({"resultType": "vector", "result": []}, "up")[1]


def test_a_range_is_a_chart_that_keeps_to_the_width(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    one = {**MATRIX, "result": MATRIX["result"][:1]}
    code, out, _, seen = ask(one, "up", "--at", "600", "--since", "10m", "--step", "15s")
    assert (code, seen["start"], seen["end"], seen["step"]) == (0, "0.000", "600.000", "15.000")
    assert max(map(len, out.splitlines())) <= 60
    assert any("\u2800" < sign <= "\u28ff" for sign in out)
    assert "00:00:00Z" in out
    assert "\x1b" not in out
    several = ask(MATRIX, "up", "--at", "600", "--since", "10m")[1]
    assert "▁" in several
    assert '{job="b"}' in several


def test_json_is_what_the_server_says(ask: Callable[..., Any]) -> None:
    assert json.loads(ask(VECTOR, "up", "--json")[1])["data"] == VECTOR


@pytest.mark.parametrize("words", [("--since", "soon"), ("--at", "soon"), ("--since", "1h", "--step", "0")])
def test_what_is_no_time_is_refused_with_a_mend(ask: Callable[..., Any], words: tuple[str, ...]) -> None:
    code, out, err, _ = ask(VECTOR, "up", *words)
    assert (code, out) == (5, "")
    assert "Write" in err


@pytest.mark.parametrize(
    ("word", "kind"),
    [("bad_data", Invalid), ("timeout", TimedOut), ("unavailable", Unreachable), ("internal", PoiseError)],
)
def test_a_refused_query_has_its_code_and_its_exit(word: str, kind: type[PoiseError]) -> None:
    told = {"status": "error", "errorType": word, "error": "POISE-E480 it does not parse. Mend it."}
    found = _error_of(422, msgspec.json.encode(told))
    assert (type(found), found.code, found.what) == (kind, "POISE-E480", "it does not parse. Mend it")


def test_colours_tell_lines_apart_and_gaps_stay_gaps() -> None:
    lines = [[(0.0, 1.0), (5.0, float("nan")), (10.0, 2.0)], [(0.0, 5.0), (10.0, 5.0)]]
    scale = plot.scale_of(lines, 0.0, 10.0)
    rows = plot.chart(lines, scale, 40, colour=True)
    assert "\x1b[36m" in "".join(rows)
    assert "\x1b[33m" in "".join(rows)
    assert plot.spark(lines[0], scale, 10)[1:9] == " " * 8
    assert plot.scale_of([[]], 0.0, 1.0).high == 1.0
    assert plot.scale_of([[(0.0, 3.0)]], 0.0, 1.0).low < 3.0
