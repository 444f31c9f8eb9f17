"""All output of a house has an end: what ended goes, the oldest first, and never what lives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio

from poise.adapters.output.retention import OutputTending, held
from poise.model.delivery import JobRun, Run, RunState
from poise.model.fleet import Replica


def output(house: Any, name: str, age_s: float, size_bytes: int = 100_000) -> Path:
    path: Path = house.data / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size_bytes)
    Path(f"{path}.index").write_bytes(b"")
    at = house.clock.at.timestamp() - age_s
    os.utime(path, (at, at))
    return path


def test_what_ended_longest_ago_goes_first_and_what_lives_stays(house: Any) -> None:
    """An app that is deployed ten times a day leaves files that nobody trims any more."""
    web = "shop/production/web"
    day = 86_400.0
    run = Run(
        project="shop", n=3, commit="c" * 40, branch="main", workflow="ci", created_at=house.clock.at,
        state=RunState.RUNNING, jobs=(JobRun(id="build"),),
    )  # fmt: skip
    house.write(Replica(service=web, rollout=2, index=0), run)
    living = output(house, f"{web}/2-0.log", 9 * day)
    under_way = output(house, "runs/shop/000003/build/0.log", 8 * day)
    oldest = output(house, f"{web}/1-0.log", 7 * day)
    older = output(house, "runs/shop/000002/build/0.log", 6 * day)
    newer = output(house, f"{web}/1-1.log", 5 * day)
    young = output(house, f"{web}/9-9.log", 60)
    own = output(house, "poise.log", 30 * day)
    tending = OutputTending(house.data, house.store, house.clock, limit_bytes=430_000)
    assert anyio.run(tending.once) == [oldest, older]
    assert not Path(f"{oldest}.index").exists()
    assert all(path.exists() for path in (living, under_way, newer, young, own))
    assert anyio.run(tending.once) == []
    greedy = OutputTending(house.data, house.store, house.clock, limit_bytes=0)
    assert anyio.run(greedy.once) == [newer]
    assert {one.path for one in held(house.data / "logs")} == {living, under_way, young}
