"""The whole story, stage after stage; it cleans up however it ends."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import httpx2

from poise.cli.story import mischief
from poise.cli.story.breaking import heal
from poise.cli.story.growing import scale
from poise.cli.story.improving import improve
from poise.cli.story.responding import respond, review
from poise.cli.story.scene import Scene
from poise.cli.story.shipping import deliver, observe, promote, protect
from poise.cli.story.shop import SHORTENED, copy_shop, find_example
from poise.cli.story.spending import audit, balance
from poise.cli.story.telling import Failed, Report, Stage, View
from poise.cli.story.users import RATE_PER_S
from poise.model.errors import PoiseError

Act = Callable[[Scene, dict[str, Any]], Awaitable[None]]
ACTS: Final[tuple[Act, ...]] = (
    deliver, observe, promote, protect, heal, scale, respond, review, balance, improve, audit,
)  # fmt: skip
STAGE_MOST_S: Final = 300.0


def play(*, keep: bool, quiet: bool, writes_to: Path | None = None) -> Report:
    """Play it in a temporary folder; the post-mortem goes to ``writes_to``, when given.

    Raises ``NotFound`` without the example, KeyboardInterrupt when told.
    """
    example = find_example()
    folder = Path(tempfile.mkdtemp(prefix="poise-demo-"))
    try:
        return _played(example, folder, keep, quiet, writes_to or folder)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _played(example: Path, folder: Path, keep: bool, quiet: bool, writes_to: Path) -> Report:
    with View(quiet) as view:
        view.say(
            f"The demo plays in {folder}; {RATE_PER_S:g} requests/s from users. It shortens these defaults:"
        )
        for line in SHORTENED:
            view.say(f"  {line}")
        scene = Scene(folder, view)
        scene.writes_to = writes_to.resolve()
        copy_shop(example, scene.shop, scene.phone.url)
        try:
            return asyncio.run(_acts(scene))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None  # SIGTERM ends it as Ctrl-C does
        finally:
            if keep:
                mischief.keep(folder, scene.phone.port)
                view.say(f"Kept: http://127.0.0.1:{scene.port}. Log in: POISE_DATA={scene.data} poise login")
                view.say("  Break it: poise demo break kill (or bad-release, bad-config, hang, traffic ...)")
                view.say(f"  End it: POISE_DATA={scene.data} poise down; rm -r {folder}")
            else:
                view.say("poise down")
                scene.close()


async def _acts(scene: Scene) -> Report:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    began = time.monotonic()
    stages: list[Stage] = []
    try:
        await scene.phone.listen()
        for act in ACTS:
            stages.append(await _act(scene, act))
            if not stages[-1].ok:
                break
    finally:
        await scene.leave()
    ok = len(stages) == len(ACTS) and all(stage.ok for stage in stages)
    return Report(ok=ok, total_s=round(time.monotonic() - began, 1), stages=stages)


async def _act(scene: Scene, act: Act) -> Stage:
    stage = Stage(name=act.__name__)
    scene.view.begin(stage)
    began = time.monotonic()
    try:
        async with asyncio.timeout(STAGE_MOST_S):
            await act(scene, stage.facts)
        stage.ok = True
    except (Failed, PoiseError, httpx2.HTTPError, OSError) as error:
        stage.facts["reason"] = str(error) or repr(error)
        stage.facts["lately"] = await scene.lately()
    finally:
        stage.took_s = round(time.monotonic() - began, 2)
    scene.view.end(stage)
    return stage
