"""The stage scale: five times the shoppers and back; the storefront follows and nobody notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from poise.api.scale import ScaleView
from poise.api.views import ServiceStatus
from poise.cli.story.breaking import quiet
from poise.cli.story.scene import Scene
from poise.cli.story.shipping import must
from poise.cli.story.users import RATE_PER_S

TIMES: Final = 5
OUT_MOST_S: Final = 60.0
IN_MOST_S: Final = 60.0
AT_CAPACITY_S: Final = 3.0


async def scale(scene: Scene, facts: dict[str, Any]) -> None:
    """Load times five: replicas are added until they are enough; load back: they go, gently."""
    await quiet(scene)
    await scene.until("what the hang had called for goes again", _is_at_rest(scene), IN_MOST_S)
    before = (await scene.service()).replicas_ready
    began = scene.users.now()
    scene.view.doing(f"{TIMES * RATE_PER_S:g} requests/s")
    rush = await scene.users.rush((TIMES - 1) * RATE_PER_S)
    started = time.monotonic()
    try:

        async def grown() -> ServiceStatus | None:
            now = await scene.service()
            wanted = _wanted(await _seen(scene))
            return now if wanted > before and now.replicas_ready >= wanted else None

        await scene.until("there are replicas for them", grown, OUT_MOST_S)
        facts["time_to_capacity_s"] = round(time.monotonic() - started, 2)
        await asyncio.sleep(AT_CAPACITY_S)
        most = (await scene.service()).replicas_ready
    finally:
        await rush.stop()
    scene.view.doing(f"{RATE_PER_S:g} requests/s again")
    eased = time.monotonic()

    async def shrunk() -> bool:
        return len((await scene.service()).replicas) <= before

    await scene.until("the replicas that are too many go", shrunk, IN_MOST_S)
    felt = scene.users.felt(began, scene.users.now())
    facts["replicas"] = [before, most, (await scene.service()).replicas_ready]
    facts["scale_in_s"] = round(time.monotonic() - eased, 2)
    facts["requests"] = felt.requests
    facts["failed_requests"] = felt.failed
    facts["posts_lost_in_flight"] = felt.posts_lost
    facts["latency_ms_p95"] = felt.latency_ms_p95
    must(felt.failed + felt.posts_lost == 0, f"requests failed: {scene.users.failures(began)}")


def _is_at_rest(scene: Scene) -> Callable[[], Awaitable[bool]]:
    """Whether the storefront is at its minimum: what piled up at the hanging replica called for more."""

    async def look() -> bool:
        least, now = (await _seen(scene)).now.min, await scene.service()
        return len(now.replicas) == now.replicas_ready == least

    return look


async def _seen(scene: Scene) -> ScaleView:
    """What scaling wants now."""
    path = f"projects/{scene.project}/environments/production/services/storefront/scale"
    return await scene.get(path, ScaleView)


def _wanted(view: ScaleView) -> int:
    return view.target.replicas if view.target else 0
