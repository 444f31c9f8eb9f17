"""Why a service has as many replicas as it has, and what each of them uses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from poise.api.usage import cpu_ratio
from poise.model.fleet import Identity, Replica, ScaleTarget
from poise.model.signal import (
    IN_FLIGHT,
    REPLICA_CPU_TOTAL,
    REPLICA_MEMORY,
    REQUESTS_TOTAL,
    Batch,
    Points,
    Sample,
    Series,
)

KEY = "shop/production/web"
PATH = "/api/v1/projects/shop/environments/production/services/web"
Headers = Callable[..., dict[str, str]]


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


def test_scale_tells_the_need_by_each_rule(
    house: Any, client: TestClient[Litestar], headers: Headers
) -> None:
    declare(house)
    measured(house)
    found = client.get(f"{PATH}/scale", headers=headers("viewer")).json()
    now = found["now"]
    assert (now["rate_per_s"], now["in_flight"], found["needed"]) == (40.0, 2.0, 4)
    assert (now["replicas"], now["current"], now["rule"]) == (4, 2, "offered-rate")
    assert found["target"] is None


def test_a_service_without_a_rate_says_how_to_declare_one(
    house: Any, client: TestClient[Litestar], headers: Headers
) -> None:
    found = client.get(f"{PATH}/scale", headers=headers("viewer")).json()
    assert found["now"]["rule"] == "not-declared" and "scaling.serviceRate" in found["sentence"]


def test_status_has_what_each_replica_uses(
    house: Any, client: TestClient[Litestar], headers: Headers
) -> None:
    measured(house)
    house.write(ScaleTarget(service=KEY, replicas=3, rule="offered-rate", reason="so many"))
    found = client.get(PATH, headers=headers("viewer")).json()
    assert found["usage"] == [{"rollout": 1, "index": 0, "cpu_ratio": 0.5, "memory_bytes": 8e6}]
    assert found["target"]["replicas"] == 3


@pytest.mark.parametrize(
    ("points", "ratio"),
    [
        ([(0, 1.0)], None),
        ([(0, 1.0), (1, 1.0), (2, 1.0)], 0.0),
        ([(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0), (4, 4.0), (5, 4.0)], 1.0),
        ([(0, 9.0), (1, 9.5), (2, 0.5), (3, 0.5), (4, 1.5)], 0.5),  # another process
    ],
)
def test_cpu_is_told_from_when_it_was_measured(
    points: list[tuple[float, float]], ratio: float | None
) -> None:
    assert cpu_ratio(Points(series=Series("s"), epoch="e", points=tuple(points))) == ratio
