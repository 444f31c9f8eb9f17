"""``poise gate check --slo FILE --prometheus URL``: exact counts, and a hold where the API lies."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.adapters.prometheus.server import Asked, Reply, Server, bad, good

from poise.cli.entry import run
from poise.model.balance import Verdict

STEP_S = 300
DAYS = 3
SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: availability}
spec:
  service: shop
  indicator:
    metadata: {name: served}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: 'http_requests_total{code="500"}'}}}
        total: {metricSource: {type: Prometheus, spec: {query: http_requests_total}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.999}]
"""
Points = list[tuple[float, float]]
Series = dict[str, Points]  # by the code label


def history(now: float, *, bad_every: int = 20, restart: bool = False) -> Series:
    """Three days, a sample every five minutes: 100 good ones each, a failure now and then."""
    times = [now - DAYS * 86_400 + STEP_S * n for n in range(DAYS * 86_400 // STEP_S + 1)]
    ok, failed, fine, wrong = 0, 0, [], []
    for n, at in enumerate(times):
        ok = 100 if restart and n == 400 else ok + 100
        failed += n % bad_every == 0
        fine.append((at, float(ok)))
        if n:  # the series of failures appears later than the other
            wrong.append((at, float(failed)))
    return {"200": fine, "500": wrong}


def prometheus(
    series: Series, spoil: Callable[[list[Any]], list[Any]] = lambda found: found
) -> Callable[[Asked], Reply]:
    """Answers a range selector at an instant as Prometheus 2 does."""

    def speak(asked: Asked) -> Reply:
        found = re.fullmatch(r"(\w+)(\{.*\})?\[(\d+)ms\]", asked["query"])
        if found is None or found[1] != "http_requests_total":
            return good("matrix", [])
        end, start = float(asked["time"]), float(asked["time"]) - int(found[3]) / 1000
        result = []
        for code, points in series.items():
            inside = [[at, str(value)] for at, value in points if start <= at <= end]
            if inside and (not found[2] or f'"{code}"' in found[2]):
                result.append({"metric": {"__name__": "http_requests_total", "code": code}, "values": inside})
        return good("matrix", spoil(result))

    return speak


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slo.yaml").write_text(SLO)
    yield tmp_path


def asked(speak: Callable[[Asked], Reply], *more: str) -> int:
    server = Server(speak)
    try:
        return run(["gate", "check", "--slo", "slo.yaml", "--prometheus", server.url, "--quiet", *more])
    finally:
        server.close()


def verdict_of(capsys: pytest.CaptureFixture[str]) -> Verdict:
    return msgspec.json.decode(capsys.readouterr().out.encode(), type=Verdict)


@pytest.mark.parametrize("restart", [False, True])
def test_events_are_counted_exactly_restarts_and_late_series_included(
    folder: Path, capsys: pytest.CaptureFixture[str], restart: bool
) -> None:
    """``increase()`` would extrapolate and lose the first failures; the verdict is what the samples say."""
    now = float(int(time.time()))
    series = history(now, restart=restart)
    assert asked(prometheus(series), "--json") == 0
    verdict = verdict_of(capsys)
    (budget,) = verdict.inputs["budgets"]
    steps = DAYS * 86_400 // STEP_S
    assert budget["bad"] == series["500"][-1][1]
    assert budget["good"] == steps * 100
    assert budget["coverage_ratio"] == 1.0 and verdict.kind.value == "go"


def test_the_verdict_replays_from_the_printed_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An audit needs the file alone."""
    assert asked(prometheus(history(time.time())), "--json") == 0
    (folder / "verdict.json").write_text(capsys.readouterr().out)
    assert run(["gate", "replay", "verdict.json"]) == 0
    spoiled = (folder / "verdict.json").read_text().replace('"kind":"go"', '"kind":"hold"', 1)
    (folder / "verdict.json").write_text(spoiled)
    assert run(["gate", "replay", "verdict.json"]) == 1


def test_a_spent_budget_holds_features_and_lets_a_fix_go(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Adopted beside any CI, it is the same gate."""
    spent = prometheus(history(time.time(), bad_every=4))
    assert asked(spent) == 6
    assert "budget is spent" in capsys.readouterr().err
    assert asked(spent, "--class", "fix") == 0


def rename(found: list[Any]) -> list[Any]:
    return [{**one, "metric": {**one["metric"], "__name__": "other_total"}} for one in found]


def other_code(found: list[Any]) -> list[Any]:
    return [{**one, "metric": {**one["metric"], "code": "404"}} for one in found]


def no_number(found: list[Any]) -> list[Any]:
    return [{**one, "values": [*one["values"][:-1], [one["values"][-1][0], "NaN"]]} for one in found]


def another_time(found: list[Any]) -> list[Any]:
    return [{**one, "values": [[at + 90_000, value] for at, value in one["values"]]} for one in found]


def negative(found: list[Any]) -> list[Any]:
    return [{**one, "values": [[at, "-5"] for at, _ in one["values"]]} for one in found]


def stale(found: list[Any]) -> list[Any]:
    old = time.time() - 3600
    kept = [{**one, "values": [pair for pair in one["values"] if pair[0] < old]} for one in found]
    return [one for one in kept if one["values"]]


def gone_for_a_day(found: list[Any]) -> list[Any]:
    """A gap that a restart ends: nobody knows what happened in it."""
    end, start = time.time() - 86_400, time.time() - 2 * 86_400
    made = []
    for one in found:
        values = [
            [at, value if at < start else str(float(value) / 1e3)]
            for at, value in one["values"] if not start < at < end
        ]  # fmt: skip
        if values:
            made.append({**one, "values": values})
    return made


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (rename, "another series"),
        (other_code, "another series"),
        (no_number, "has the value nan"),
        (another_time, "samples of another time"),
        (negative, "has the value -5"),
        (lambda found: [], "has no sample"),
        (stale, "last measured"),
        (gone_for_a_day, "time was measured"),
    ],
)
def test_an_api_that_lies_is_a_hold_with_the_objectives_line(
    folder: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[list[Any]], list[Any]], says: str
) -> None:
    """Exit 6 and a sentence; never 0, never a stack trace."""
    assert asked(prometheus(history(time.time()), spoil)) == 6
    said = capsys.readouterr().err
    assert says in said and "Traceback" not in said
    if "last measured" not in says and "time was" not in says:
        assert "slo.yaml:3:" in said


def test_an_api_that_refuses_or_is_not_there_is_a_hold(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A time-out in the pipeline must not deploy."""
    assert asked(lambda _: bad(422, "execution", "query processing would load too many samples")) == 6
    assert asked(lambda _: Reply(body=b"<html>a login page</html>")) == 6
    assert run(["gate", "check", "--slo", "slo.yaml", "--prometheus", "http://127.0.0.1:9", "--quiet"]) == 6
    assert capsys.readouterr().err.count("slo.yaml:3:") == 3


def test_parts_that_exceed_the_whole_contradict_one_another(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More failures than requests: one of the two queries is wrong."""
    series = history(time.time())
    series["500"] = [(at, value * 1e6) for at, value in series["500"]]
    swapped = SLO.replace("query: http_requests_total}", "query: 'http_requests_total{code=\"200\"}'}")
    (folder / "slo.yaml").write_text(swapped)
    assert asked(prometheus(series)) == 6
    assert "contradict one another" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_refused_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped objective is no objective, and no reason to pass."""
    (folder / "slo.yaml").write_text(SLO.replace("target: 0.999", "target: 1.5"))
    assert asked(prometheus({})) == 5
    assert "slo.yaml:15:" in capsys.readouterr().err


def test_a_first_release_and_a_young_objective_say_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two exceptions hold here too."""
    assert asked(lambda _: good("matrix", []), "--first-release") == 0
    assert capsys.readouterr().out.startswith("go (bootstrap)")
    now = time.time()
    young = {code: points[-40:] for code, points in history(now).items()}
    assert asked(prometheus(young)) == 0
    assert capsys.readouterr().out.startswith("slow (bootstrap)")


def test_a_workflow_of_github_gets_a_summary_and_outputs(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict where the team looks: the run's page, and the next step's condition."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(folder / "out"))
    assert asked(prometheus(history(time.time(), bad_every=4)), "--github") == 6
    assert "### 🔴 Gate: hold for a feature on" in (folder / "summary.md").read_text()
    outputs = (folder / "out").read_text()
    assert "verdict=hold\ngo=false\nlevel=freeze\n" in outputs and "sentence<<poise-" in outputs


@pytest.mark.usefixtures("folder")
def test_labels_classify_by_the_policy_of_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No server has to know the rules: the file does."""
    policy = (
        "---\napiVersion: poise.dev/v1\nkind: BudgetPolicy\nmetadata: {name: shop}\n"
        "spec: {classes: [{class: fix, labels: [bug]}]}\n"
    )
    (folder / "slo.yaml").write_text(SLO + policy)
    (folder / "event.json").write_text('{"pull_request": {"number": 12, "labels": [{"name": "bug"}]}}')
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(folder / "event.json"))
    asked(prometheus(history(time.time())), "--json")
    assert verdict_of(capsys).change_class.value == "fix"
