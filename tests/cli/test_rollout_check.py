"""``poise rollout check``: another tool's canary, judged by the answers of a metrics server alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.adapters.prometheus.server import Asked, Reply, Server, bad, good

from poise.cli.entry import run
from poise.delivery.rollout.outside import Judgement

ARMS = (
    "--canary-total", 'hits_total{v="new"}', "--canary-bad", 'hits_total{v="new",code="500"}',
    "--baseline-total", 'hits_total{v="old"}', "--baseline-bad", 'hits_total{v="old",code="500"}',
)  # fmt: skip


def counters(new: tuple[float, float], old: tuple[float, float]) -> Callable[[Asked], Reply]:
    """Each arm's requests and bad ones a second, answered as Prometheus answers a range query."""

    def speak(asked: Asked) -> Reply:
        assert asked.path == "/api/v1/query_range"
        all_, failed = new if '"new"' in asked["query"] else old
        rate = failed if "500" in asked["query"] else all_
        start, end, step = (float(asked[name]) for name in ("start", "end", "step"))
        instants = [start + step * n for n in range(int((end - start) / step) + 1)]
        values = [[at, str((at - start) * rate)] for at in instants]
        return good("matrix", [{"metric": {"__name__": "hits_total"}, "values": values}] if rate else [])

    return speak


def checked(speak: Callable[[Asked], Reply], *more: str) -> int:
    server = Server(speak)
    try:
        return run(["rollout", "check", "--prometheus", server.url, *ARMS, *more])
    finally:
        server.close()


@pytest.mark.parametrize(
    ("new", "old", "more", "code", "finding"),
    [
        ((5, 1), (45, 0.1), (), 6, "harm"),
        ((5, 0), (45, 0.5), (), 0, "safe"),
        ((5, 0), (45, 0.5), ("--safe",), 0, "safe"),
        ((0, 0), (45, 0.5), (), 0, "undecided"),
        ((0, 0), (45, 0.5), ("--safe",), 6, "undecided"),
    ],
)
def test_the_exit_code_is_what_a_workflow_goes_by(
    capsys: pytest.CaptureFixture[str], new: Any, old: Any, more: tuple[str, ...], code: int, finding: str
) -> None:
    """As the gate's: 0 goes on, 6 does not; no data is no harm and no proof."""
    assert checked(counters(new, old), "--json", *more) == code
    found = msgspec.json.decode(capsys.readouterr().out, type=Judgement)
    assert found.finding.value == finding
    assert checked(counters(new, old), *more) == code
    said = capsys.readouterr()
    assert finding in said.out + said.err


def test_what_cannot_be_asked_is_an_error_and_no_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(lambda asked: bad(422, "execution", "no such function")) not in (0, 6)
    assert "Traceback" not in capsys.readouterr().err
    for more, code in ((("--window", "soon"), "POISE-E283"), (("--alpha", "2"), "POISE-E281")):
        assert checked(counters((5, 0), (45, 0)), *more) not in (0, 6)
        assert code in capsys.readouterr().err
