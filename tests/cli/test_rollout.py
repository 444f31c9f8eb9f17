"""``poise rollout replay``: a recording in, four verdicts out, mistakes at their line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from poise.cli.entry import run

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
