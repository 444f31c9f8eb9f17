"""``poise logs``: found, merged, followed and bounded as a person in trouble needs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def say(house: Any, raw: str, name: str = "1-0") -> Path:
    folder = house.data / "logs" / "shop/production/web"
    folder.mkdir(parents=True, exist_ok=True)
    path: Path = folder / f"{name}.log"
    with path.open("a") as file:
        file.write(raw)
    return path


def test_a_search_shows_each_line_with_its_replica(house: Any, online: Run) -> None:
    """With the neighbours that were asked for, told apart from what matched."""
    say(house, "up\ncard declined: 42\ndown\n")
    say(house, "quiet\n", "2-0")
    done = online("logs", "web", "--grep", "DECLINED: [0-9]+$", "-i", "--context", "1")
    assert done.code == 0, done.err
    assert done.out.splitlines() == ["1-0 - up", "1-0 | card declined: 42", "1-0 - down"]
    assert online("logs", "web", "--replica", "2-0").out == "2-0 | quiet\n"
    assert online("logs", "web", "--tail", "1", "--replica", "1-0").out == "1-0 | down\n"
    (line,) = map(json.loads, online("logs", "web", "--grep", "card", "--json").out.splitlines())
    assert (line["source"], line["offset"], line["text"]) == ("1-0", 3, "card declined: 42")


def test_nothing_found_says_what_was_searched(house: Any, online: Run) -> None:
    """No output is told apart from no match."""
    assert "Nothing was printed" in online("logs", "web").err
    say(house, "up\n")
    done = online("logs", "web", "--grep", "never")
    assert (done.code, done.out) == (0, "")
    assert "No line matches" in done.err


def test_a_step_of_a_run_is_searched(house: Any, online: Run) -> None:
    """``poise logs run 2 build/test``."""
    from poise.model.delivery import JobRun, Run, RunState, StepRun

    steps = (StepRun(name="setup", state=RunState.SUCCESS), StepRun(name="test", state=RunState.FAILURE))
    made = Run(
        project="shop", n=2, commit="c" * 40, branch="main", workflow="ci", created_at=house.clock.at,
        state=RunState.FAILURE, jobs=(JobRun(id="build", steps=steps),),
    )  # fmt: skip
    house.write(made)
    folder = house.data / "logs" / "runs" / made.key / "build"
    folder.mkdir(parents=True)
    (folder / "0.log").write_text("ok\n")
    (folder / "1.log").write_text("E assert 1 == 2\nno newline")
    whole = online("logs", "run", "2")
    assert whole.out.splitlines() == [
        "build / setup | ok", "build / test | E assert 1 == 2", "build / test | no newline",
    ]  # fmt: skip
    assert online("logs", "run", "2", "build/test", "--grep", "^E").out.count("\n") == 1
    assert online("logs", "--run", "2", "--tail", "1").out == "build / test | no newline\n"
    followed = online("logs", "run", "2", "build/setup", "--follow")
    assert followed.out == "build / setup | ok\n"
    assert "run: failure" in followed.err
    assert online("logs", "run", "2", "build/nothing").code == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("web", "--grep", "time[a"), "POISE-Y101", "character 5"),
        (("web", "--since", "yesterday"), "POISE-Y104", "Write e.g. 10m"),
        (("web", "--replica", "../../x"), "POISE-Y105", "names no replica"),
        (("run",), "POISE-E203", "poise logs run 1"),
        (("run", "1", "--replica", "0"), "POISE-E213", "a run has no replicas"),
    ],
)
def test_what_cannot_be_asked_is_told(online: Run, words: tuple[str, ...], code: str, said: str) -> None:
    """What, where and how it would be right; never a stack trace."""
    done = online("logs", *words)
    assert done.code != 0
    assert code in done.err
    assert said in done.err
    assert "Traceback" not in done.err


def test_what_is_printed_later_is_followed_with_new_replicas_too(house: Any, served: str) -> None:
    """A rollout in the middle of it makes new files: they are followed from their beginning."""
    later = time.time() + 3_600
    os.utime(say(house, "before\nhalf"), (later, later))  # or it would be told as it is after two seconds
    words = [
        str(Path(sys.executable).with_name("poise")),
        "logs",
        "shop/production/web",
        "--follow",
        "--grep",
        "e",
    ]
    environment = {**os.environ, "POISE_DATA": str(house.data), "POISE_TOKEN": house.credentials["viewer"]}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "1-0 | before\n"
            say(house, " a line, whole\nnot\n")
            assert process.stdout.readline() == "1-0 | half a line, whole\n"
            say(house, "new\n", "2-0")
            assert process.stdout.readline() == "2-0 | new\n"
        finally:
            process.kill()
