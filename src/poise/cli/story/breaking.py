"""The stage heal: replicas are killed and hung under load; users shall not notice."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from pathlib import Path
from typing import Any, Final

from poise.api.views import Page
from poise.cli.story.scene import Scene
from poise.cli.story.shipping import must
from poise.cli.story.shop import PROJECT
from poise.cli.story.telling import Failed
from poise.model.delivery import Rollout
from poise.model.fleet import Replica

KILLS: Final = 5
HANG_MOST_S: Final = 5.0
SERVING_MOST_S: Final = 20.0
LOOK_S: Final = 0.003
REST_S: Final = 1.5  # between two kills, as long as a replica serves before the next one
MARK: Final = "CATALOG_URL"  # the same in all replicas of this house's storefront, and in no other's


async def heal(scene: Scene, facts: dict[str, Any]) -> None:
    """SIGKILL one replica five times, SIGSTOP one."""
    await quiet(scene)
    began = scene.users.now()
    killed: list[float] = []
    for n in range(1, KILLS + 1):
        replica = await a_replica(scene)
        scene.view.doing(f"kill -9 of {replica.key}, {n} of {KILLS}")
        killed.append(await _until_serving(replica, signal.SIGKILL))
        await asyncio.sleep(REST_S)
    replica = await a_replica(scene)
    scene.view.doing(f"kill -STOP of {replica.key}")
    hung_s = await _until_serving(replica, signal.SIGSTOP)
    await a_replica(scene)
    felt = scene.users.felt(began, scene.users.now())
    facts["kill_to_serving_s"] = round(statistics.median(killed), 3)
    facts["kill_to_serving_s_max"] = round(max(killed), 3)
    facts["kill_to_serving_s_all"] = [round(one, 3) for one in killed]
    facts["hang_to_serving_s"] = round(hung_s, 3)
    facts["requests"] = felt.requests
    facts["failed_requests"] = felt.failed
    facts["posts_lost_in_flight"] = felt.posts_lost
    facts["app_errors"] = felt.app_errors
    if felt.app_errors:
        facts["app_errors_seen"] = scene.users.failures(began)
    must(felt.failed == 0, f"requests failed: {scene.users.failures(began)}")
    must(hung_s <= HANG_MOST_S, f"a hang took {hung_s:.1f} s")


async def quiet(scene: Scene) -> None:
    """No rollout is under way anywhere: what is measured next is measured alone."""

    async def look() -> bool:
        path = f"projects/{PROJECT}/environments/production/services/"
        for name in ("storefront", "catalog", "payments"):
            rollouts = (await scene.get(f"{path}{name}/rollouts", Page[Rollout], limit=500)).items
            if any(one.state.is_active or one.state.value == "waiting" for one in rollouts):
                return False
        return True

    await scene.until("the other services' rollouts end", look, 90.0, 0.3)


async def a_replica(scene: Scene) -> Replica:
    """The storefront's first replica, once two are ready and it is a process that lives."""

    async def look() -> Replica | None:
        page = await scene.get(
            f"projects/{PROJECT}/environments/production/services/storefront/replicas", Page[Replica]
        )
        up = [one for one in page.items if one.ready and not one.draining and one.identity]
        alive = [
            one for one in up if one.identity and _start_ticks(one.identity.pid) == one.identity.start_ticks
        ]
        return alive[0] if len(alive) >= 2 else None

    return await scene.until("two replicas are ready", look, 30.0)


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


async def _until_serving(replica: Replica, number: signal.Signals) -> float:
    """Signal the process; seconds until another one in its place answers over HTTP."""
    assert replica.identity is not None
    pid = replica.identity.pid
    mark = _variables(pid).get(MARK)
    must(mark is not None, f"process {pid} is not a storefront")
    known = _pids()
    began = time.monotonic()
    os.kill(pid, number)
    while time.monotonic() - began < SERVING_MOST_S:
        for new in sorted(_pids() - known):
            variables = _variables(new)
            port = variables.get("PORT", "")
            if variables.get(MARK) == mark and port.isdecimal() and await _serves(int(port)):
                return time.monotonic() - began
        await asyncio.sleep(LOOK_S)
    raise Failed(f"nothing served in {replica.key}'s place for {SERVING_MOST_S:g} s")


def _pids() -> set[int]:
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}


def _variables(pid: int) -> dict[str, str]:
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(pair.split("=", 1) for pair in raw.split("\0") if "=" in pair)


async def _serves(port: int) -> bool:
    """Whether the app at this port answers its health check."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(1.0):
            return b" 200 " in await reader.readline()
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
