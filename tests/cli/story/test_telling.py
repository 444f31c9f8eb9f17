"""What the demo tells: plain lines without a terminal, facts as they were measured."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from poise.cli.story import play
from poise.cli.story.scene import Scene, free_ports
from poise.cli.story.telling import Failed, Stage, View, told


def test_facts_are_told_in_one_line() -> None:
    """A person reads them without the report."""
    facts = {"ok": True, "digest": "sha256:" + "a" * 64, "left": -0.51234, "weights": [0, 5], "by": {"n": 1}}
    assert told(facts) == "ok yes, digest sha256:aaaaaaaaaaaa, left -0.5123, weights [0, 5], by {n 1}"


def test_without_a_terminal_each_stage_is_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A log of CI shows no control codes, and stdout is for data."""
    with View(quiet=False) as view:
        stage = Stage(name="deliver")
        view.begin(stage)
        view.doing("poise up [fast]")
        stage.ok, stage.took_s, stage.facts = True, 1.0, {"http_status": 200}
        view.end(stage)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["deliver ...", "    poise up [fast]", "deliver ok in 1.0 s: http_status 200"]


def test_a_failing_stage_keeps_its_facts_and_ends_the_story(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured before the failure is what explains it."""

    async def deliver(scene: Scene, facts: dict[str, Any]) -> None:
        facts["http_status"] = 503
        raise Failed("users get no answer")

    async def observe(scene: Scene, facts: dict[str, Any]) -> None:
        raise AssertionError("it is not played after a failure")

    monkeypatch.setattr(play, "ACTS", (deliver, observe))
    report = asyncio.run(play._acts(Scene(tmp_path, View(quiet=True))))
    assert (report.ok, len(report.stages)) == (False, 1)
    facts = report.stages[0].facts
    assert facts["lately"] == ["the journal cannot be read: Unreachable('Poise is not running')"]
    assert {key: facts[key] for key in ("http_status", "reason")} == {
        "http_status": 503,
        "reason": "users get no answer",
    }


def test_ports_are_free_and_differ() -> None:
    """Two demos may play at once."""
    assert len(set(free_ports(4))) == 4
