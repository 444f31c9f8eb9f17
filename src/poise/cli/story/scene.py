"""Where the story plays: a house of its own on free ports, reached by command line, git and HTTP."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import httpx2
import msgspec
from msgspec import Struct

from poise.api.views import Page, ServiceStatus
from poise.cli.place import address_of, token_of
from poise.cli.story.phone import Phone
from poise.cli.story.shop import PROJECT, clean_environment, write_version
from poise.cli.story.telling import Failed, View
from poise.cli.story.users import HOST, Users
from poise.model.delivery import Rollout
from poise.model.errors import PoiseError
from poise.model.record import Recorded

T = TypeVar("T")
LOOK_S = 0.1
COMMAND_S = 60.0
POISE = (sys.executable, "-m", "poise.cli")


class Done(Struct, frozen=True, kw_only=True):
    """How a command ended."""

    code: int
    out: str
    err: str


class Scene:
    """One house, one shop, its shoppers. ``folder`` is temporary and everything is below it."""

    def __init__(self, folder: Path, view: View) -> None:
        self.data, self.shop, self.project = folder / "data", folder / PROJECT, PROJECT
        self.view = view
        self.writes_to = folder  # what outlives the demo, when somebody asked for a report
        self.port, self.ingress_port, phone_port = free_ports(3)
        self.phone = Phone(phone_port)
        self.users = Users(self.ingress_port)
        self._environment = clean_environment(self.data)
        self._http = httpx2.AsyncClient(timeout=5.0, trust_env=False, verify=False)

    @classmethod
    def kept(cls, folder: Path, view: View, phone_port: int) -> Scene:
        """The house of a demo that was kept running."""
        scene = cls(folder, view)
        address = address_of(scene.data)
        scene.port, scene.ingress_port = int(address.url.rpartition(":")[2]), address.ingress_port
        scene.users, scene.phone = Users(scene.ingress_port), Phone(phone_port)
        return scene

    # -- commands -------------------------------------------------------------------------------------

    async def poise(self, *words: str, codes: tuple[int, ...] = (0,)) -> Done:
        """A command of Poise, run in the shop's repository; raises ``Failed`` for another exit code."""
        return await self._run(*POISE, *words, codes=codes)

    async def git(self, *words: str) -> str:
        """A command of git in the shop's repository; its output."""
        return (await self._run("git", *words, codes=(0,))).out.strip()

    async def _run(self, *words: str, codes: tuple[int, ...], finish: bool = False) -> Done:
        """``finish``: told to stop meanwhile, let it come to its end, so that what it began can be ended."""
        process = await asyncio.create_subprocess_exec(
            *words, cwd=self.shop, env=self._environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(COMMAND_S):
                out, err = await process.communicate()
        except BaseException:
            with suppress(ProcessLookupError, TimeoutError):
                if finish:
                    async with asyncio.timeout(COMMAND_S):
                        await process.wait()
                process.kill()
            raise
        done = Done(code=process.returncode or 0, out=out.decode(), err=err.decode().strip())
        if done.code not in codes:
            said = f"{done.err}\n{done.out}".strip()[-600:]
            name = "poise" if words[0] == sys.executable else words[0]
            raise Failed(f"{name} {' '.join(words[3 if name == 'poise' else 1 :])}: exit {done.code}: {said}")
        return done

    async def open(self) -> float:
        """``poise up`` in a fresh repository; seconds until it was ready."""
        await self.git("init", "--quiet", "--initial-branch", "main")
        began = time.monotonic()
        ports = ("--port", str(self.port), "--ingress-port", str(self.ingress_port))
        await self._run(*POISE, "up", *ports, codes=(0,), finish=True)
        return time.monotonic() - began

    def close(self) -> None:
        """``poise down``: nothing of the house runs afterwards. An impatient Ctrl-C does not cut it short."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            subprocess.run(
                [*POISE, "down", "--quiet"], env=self._environment, check=False, timeout=COMMAND_S,
                stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True,
            )  # fmt: skip
        finally:
            signal.signal(signal.SIGINT, before)

    async def push(self, message: str, version: str | None = None, fail_one_in: int = 0) -> str:
        """Commit a version (None: nothing changes) and ``git push poise main``; the commit."""
        if version is not None:
            write_version(self.shop, version, fail_one_in)
        await self.git("add", "--all")
        await self.git("commit", "--quiet", "--allow-empty", "--message", message)
        await self.git("push", "--quiet", "poise", "main")
        return await self.git("rev-parse", "HEAD")

    # -- answers --------------------------------------------------------------------------------------

    async def get(self, path: str, answer: type[T], **query: str | int) -> T:
        """What the API answers. Raises ``httpx2.HTTPError``."""
        url = address_of(self.data).url + "/api/v1/" + path
        headers = {"authorization": f"Bearer {token_of(self.data)}"}
        got = await self._http.get(url, headers=headers, params=query)
        got.raise_for_status()
        return msgspec.json.decode(got.content, type=answer)

    async def lately(self) -> list[str]:
        """The newest of the journal, a line each: what to look at when a stage has failed."""
        try:
            rows = (
                await self.get(f"projects/{PROJECT}/events", Page[Recorded], limit=30, newest="true")
            ).items
        except (httpx2.HTTPError, PoiseError, OSError) as error:
            return [f"the journal cannot be read: {error!r}"]
        return [f"{row.at:%H:%M:%S} {row.event.subject}: {row.event.summary}" for row in rows]

    async def service(self, name: str = "storefront") -> ServiceStatus:
        """A service as ``poise status`` sees it."""
        return await self.get(_path(name), ServiceStatus)

    async def rollout_of(self, commit: str, name: str = "storefront") -> Rollout | None:
        """The rollout of a commit's release; None when there is none yet."""
        page = await self.get(_path(name) + "/rollouts", Page[Rollout], limit=500)
        return next((one for one in reversed(page.items) if one.commit == commit), None)

    async def storefront_status(self) -> int:
        """HTTP status that a shopper gets; 0 without an answer."""
        try:
            url = f"http://127.0.0.1:{self.ingress_port}/"
            return (await self._http.get(url, headers={"host": HOST})).status_code
        except httpx2.HTTPError:
            return 0

    async def until(
        self, what: str, look: Callable[[], Awaitable[T | None]], within_s: float, every_s: float = LOOK_S
    ) -> T:
        """The first answer that is something. Raises ``Failed`` when there is none in time."""
        self.view.doing(what)
        deadline = time.monotonic() + within_s
        trouble = ""
        while True:
            try:
                found = await look()
                trouble = ""
            except httpx2.HTTPError as error:
                found, trouble = None, f" ({error!r})"
            if found:
                return found
            if time.monotonic() > deadline:
                raise Failed(f"in {within_s:g} s not seen: {what}{trouble}")
            await asyncio.sleep(every_s)

    async def leave(self) -> None:
        """The shoppers go home and connections are closed; the house is left as it is."""
        await self.users.stop()
        await self.phone.hang_up()
        await self._http.aclose()


def _path(name: str) -> str:
    return f"projects/{PROJECT}/environments/production/services/{name}"


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody uses now."""
    with_ports = [socket.socket() for _ in range(count)]
    try:
        for one in with_ports:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in with_ports]
    finally:
        for one in with_ports:
            one.close()
