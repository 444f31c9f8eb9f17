"""``poise rollout``: one watched to its end; a recording in, four verdicts out, mistakes at their line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from poise.cli.entry import run
from poise.model.delivery import ChangeClass, Rollout, RolloutState, Trial
from poise.model.service import Service

HEAD = "at_s,canary_requests,canary_errors,baseline_requests,baseline_errors\n"


def test_four_judges_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A team sees what would have differed before it moves."""
    file = tmp_path / "rollout.csv"
    file.write_text(HEAD + "".join(f"{10 * place},50,2,450,1\n" for place in range(60)))
    assert run(["rollout", "replay", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["poise", "kayenta", "flagger", "argo"]
    assert "rollback" in lines[1]
    assert run(["rollout", "replay", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["judge"] == "poise"


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("10,50,2,450\n", ":2:1", "4 columns"),
        ("10,50,x,450,1\n", ":2:1", "not made of numbers"),
        ("10,50,51,450,1\n", ":2:1", "more errors than requests"),
        ("10,50,-1,450,1\n", ":2:1", "outside"),
        ("nan,50,1,450,1\n", ":2:1", "does not follow"),
        ("10,5,1,4,1\n5,5,1,4,1\n", ":3:1", "does not follow 10"),
        ("", "rollout.csv", "empty"),
    ],
)
def test_what_is_no_recording_is_refused_at_its_line(
    text: str, where: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rollout.csv"
    file.write_text(HEAD + text)
    assert run(["rollout", "replay", str(file)]) != 0
    told = capsys.readouterr().err
    assert where in told and said in told and "POISE-E282" in told and "Traceback" not in told


def declared(house: Any, **changes: object) -> None:
    spec = Service(project="shop", environment="production", name="watched", command="run", port=8080)
    trial = Trial(canary_requests=812, canary_errors=1, baseline_requests=15_428, baseline_errors=6)
    made = Rollout(
        project="shop", environment="production", service="watched", n=3, release=3, digest="sha256:c",
        revision="c", commit="c" * 40, summary="feat: c", change_class=ChangeClass.FEATURE, spec=spec,
        created_at=house.clock.now(), state=RolloutState.STEPPING, step=2, weight_percent=5, baseline=2,
        trial=trial,
    )  # fmt: skip
    house.write(spec)
    house.write(replace(made, **changes))


def test_status_tells_each_metric_of_both_arms(house: Any, online: Callable[..., Any]) -> None:
    """What the verdict rests on, not the verdict alone."""
    declared(house)
    told = online("rollout", "status", "watched").out
    assert "The canary takes 5 %, step 2; 1 of 812 canary requests failed against 6 of 15,428" in told
    assert "errors" in told and "1 of 812, 0.0 % to" in told and "latency" in told
    record = json.loads(online("rollout", "status", "watched", "--json").out)
    assert record["n"] == 3 and record["metrics"][0]["baseline"]["requests"] == 15_428


@pytest.mark.parametrize(("state", "code"), [(RolloutState.LIVE, 0), (RolloutState.ROLLED_BACK, 1)])
def test_who_watches_learns_the_end_by_the_exit_code(
    house: Any, online: Callable[..., Any], state: RolloutState, code: int
) -> None:
    declared(house, state=state, reason="4 of 9 failed")
    done = online("rollout", "status", "watched", "3", "--watch")
    assert done.code == code
    assert ("Rolled back: 4 of 9 failed" if code else "Live") in done.out


def test_no_rollout_and_no_service_say_so(house: Any, online: Callable[..., Any]) -> None:
    assert online("rollout", "status", "nobody").code == 3
    house.write(Service(project="shop", environment="production", name="fresh", command="run", port=8080))
    done = online("rollout", "status", "fresh")
    assert done.code == 3 and "no rollout of shop/production/fresh yet" in done.err
