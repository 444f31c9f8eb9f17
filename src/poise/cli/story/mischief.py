"""``poise demo break``: break a demo that was kept running, with shoppers in it, and watch what happens."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from poise.api.views import Page
from poise.cli.story.breaking import a_replica
from poise.cli.story.scene import Scene
from poise.cli.story.shop import PROJECT
from poise.cli.story.telling import View
from poise.cli.story.users import RATE_PER_S
from poise.model.errors import NotFound
from poise.model.record import Recorded

BEFORE_S: Final = 3.0
LOOK_S: Final = 0.5
KEPT: Final = "demo.json"
TIMES: Final = 5
QUIET_TYPES: Final = ("gate.answered", "replica.asked", "taskrun")


class Mischief(StrEnum):
    """What can be broken."""

    BAD_RELEASE = "bad-release"
    BAD_CONFIG = "bad-config"
    KILL = "kill"
    HANG = "hang"
    SLOW_DEPENDENCY = "slow-dependency"
    TRAFFIC = "traffic"


class Kept(Struct, frozen=True, kw_only=True):
    """What a kept demo leaves beside its data, so that it can be found again."""

    phone_port: int


class Told(Struct, frozen=True, kw_only=True):
    """What was broken, what users felt, and what Poise did about it."""

    mischief: str
    seconds: float
    requests: int
    failed_requests: int
    app_errors: int
    events: tuple[str, ...]


def keep(folder: Path, phone_port: int) -> None:
    """Leave word that this demo runs on."""
    (folder / KEPT).write_bytes(msgspec.json.encode(Kept(phone_port=phone_port)))


def find_kept() -> Path:
    """The folder of the newest demo that was kept. Raises ``NotFound`` when there is none."""
    given = os.environ.get("POISE_DATA")
    places = [Path(given).parent] if given else sorted(
        Path(tempfile.gettempdir()).glob("poise-demo-*"), key=lambda one: one.stat().st_mtime, reverse=True
    )  # fmt: skip
    for folder in places:
        if (folder / KEPT).is_file() and (folder / "data" / "run" / "api.json").is_file():
            return folder
    raise NotFound(
        "POISE-D302", "no demo is kept running", where=tempfile.gettempdir(),
        mend="Run: poise demo --keep",
    )  # fmt: skip


def do(mischief: Mischief, seconds: float, quiet: bool) -> Told:
    """Break it and watch for ``seconds``. Raises ``NotFound`` without a kept demo."""
    folder = find_kept()
    kept = msgspec.json.decode((folder / KEPT).read_bytes(), type=Kept)
    view = View(quiet)
    return asyncio.run(_watch(Scene.kept(folder, view, kept.phone_port), mischief, seconds))


async def _watch(scene: Scene, mischief: Mischief, seconds: float) -> Told:
    seen = await _newest(scene)
    events: list[str] = []
    try:
        await _listen(scene)
        scene.users.start()
        began = scene.users.now()
        scene.view.say(f"{RATE_PER_S:g} requests/s from users; watch http://127.0.0.1:{scene.port}")
        await asyncio.sleep(BEFORE_S)
        scene.view.say(f"-- {mischief.value}")
        breaking = asyncio.create_task(_DEEDS[mischief](scene))
        until = time.monotonic() + seconds
        rang = 0
        while time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
            seen = await _tell_events(scene, seen, events)
            rang = _tell_calls(scene, rang)
            if breaking.done() and (trouble := breaking.exception()) is not None:
                raise trouble
        if not breaking.done():
            breaking.cancel()
        felt = scene.users.felt(began, scene.users.now())
    finally:
        await scene.leave()
    return Told(
        mischief=mischief.value, seconds=seconds, requests=felt.requests,
        failed_requests=felt.failed + felt.posts_lost, app_errors=felt.app_errors, events=tuple(events),
    )  # fmt: skip


async def _listen(scene: Scene) -> None:
    try:
        await scene.phone.listen()
    except OSError as error:
        scene.view.say(f"(the phone of who is on call does not ring: {error.strerror})")


async def _newest(scene: Scene) -> int:
    rows = (await scene.get(f"projects/{PROJECT}/events", Page[Recorded], newest="true", limit=1)).items
    return rows[-1].sequence if rows else 0


async def _tell_events(scene: Scene, seen: int, events: list[str]) -> int:
    page = await scene.get(f"projects/{PROJECT}/events", Page[Recorded], after=seen, limit=100)
    for row in page.items:
        if not any(kind in row.event.type for kind in QUIET_TYPES):
            events.append(row.event.summary)
            scene.view.say(f"{row.at:%H:%M:%S} {row.event.summary}")
    return page.items[-1].sequence if page.items else seen


def _tell_calls(scene: Scene, rang: int) -> int:
    for call in scene.phone.calls[rang:]:
        scene.view.say(f"** the phone rings: {call.body.get('title', '')}")
        scene.view.say(f"** to acknowledge, open {call.body.get('link', '')}")
    return len(scene.phone.calls)


async def _bad_release(scene: Scene) -> None:
    await scene.push(f"A release with a bug, {time.time_ns()}", f"bad-{time.time_ns()}", 5)


async def _bad_config(scene: Scene) -> None:
    await scene.poise("config", "set", "payments", "CURRENCY=EURO", "--reason", "poise demo break")


async def _slow_dependency(scene: Scene) -> None:
    await scene.poise("config", "set", "payments", "DELAY_MS=1500", "--reason", "poise demo break")


async def _kill(scene: Scene) -> None:
    await _signal(scene, signal.SIGKILL)


async def _hang(scene: Scene) -> None:
    await _signal(scene, signal.SIGSTOP)


async def _signal(scene: Scene, number: signal.Signals) -> None:
    replica = await a_replica(scene)
    assert replica.identity is not None
    os.kill(replica.identity.pid, number)


async def _traffic(scene: Scene) -> None:
    rush = await scene.users.rush((TIMES - 1) * RATE_PER_S)
    try:
        await asyncio.Event().wait()
    finally:
        await rush.stop()


_DEEDS: Final[dict[Mischief, Callable[[Scene], Coroutine[Any, Any, None]]]] = {
    Mischief.BAD_RELEASE: _bad_release,
    Mischief.BAD_CONFIG: _bad_config,
    Mischief.KILL: _kill,
    Mischief.HANG: _hang,
    Mischief.SLOW_DEPENDENCY: _slow_dependency,
    Mischief.TRAFFIC: _traffic,
}
