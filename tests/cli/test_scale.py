"""The command line tells how many replicas there are, why, and what each of them uses."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio

from poise.model.fleet import Identity, Replica
from poise.model.signal import (
    IN_FLIGHT,
    REPLICA_CPU_TOTAL,
    REPLICA_MEMORY,
    REQUESTS_TOTAL,
    Batch,
    Sample,
    Series,
)

KEY = "shop/production/web"


def measured(house: Any) -> None:
    """Ten seconds of 40 requests/s, half of a core and 8 MB; CPU is measured every other second."""
    service, rollout = ("service", KEY), ("rollout", "1")
    used = (("index", "0"), rollout, service)
    for second in range(11):
        samples = (
            Sample(Series(REQUESTS_TOTAL, (service,)), 40.0 * second),
            Sample(Series(IN_FLIGHT, (rollout, service)), 2.0),
            Sample(Series(REPLICA_CPU_TOTAL, used), 0.5 * (second // 2 * 2)),
            Sample(Series(REPLICA_MEMORY, used), 8e6),
        )
        at = house.clock.at + timedelta(seconds=second - 10)
        anyio.run(house.parts.signals.append, Batch(at=at, epoch="e", samples=samples))
    house.write(Replica(service=KEY, rollout=1, index=0, identity=Identity(pid=1, start_ticks=1), ready=True))


def declare(house: Any) -> None:
    from msgspec.structs import replace

    from poise.model.service import Scaling, Service

    web, _ = anyio.run(house.store.get, Service, KEY)
    house.write(replace(web, scaling=Scaling(service_rate_per_s=20.0)))


def test_the_command_line_shows_both(house: Any, online: Callable[..., Any]) -> None:
    declare(house)
    measured(house)
    shown = online("scale", "web")
    assert shown.code == 0 and "40.0/s" in shown.out and "4 replicas" in shown.out
    assert json.loads(online("scale", "web", "--json").out)["needed"] == 4
    assert "offered-rate" in online("scale").out
    replicas = online("status", "web")
    assert "50.0 %" in replicas.out and "7.6 MiB" in replicas.out
