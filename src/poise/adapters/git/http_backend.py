"""Smart HTTP: one request to ``git http-backend``, streamed both ways, bounded in bytes and time.

Source: git-http-backend(1); RFC 3875 (CGI).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from poise.adapters.git.command import environment
from poise.adapters.git.repositories import PUSH_BYTES
from poise.adapters.git.standing import Standing, told
from poise.model.errors import Invalid, NotFound, PoiseError, TimedOut, TooLarge, Unreachable

BODY_BYTES: Final = PUSH_BYTES
SERVE_S: Final = 600.0
CHUNK_BYTES: Final = 64 * 1024
HEADER_BYTES: Final = 64 * 1024
SAID_BYTES: Final = 4096

_SERVICES: Final = ("git-upload-pack", "git-receive-pack")


Result = TypeVar("Result")


class GitResponse(Struct, frozen=True, kw_only=True):
    """An answer whose body is still being made: iterate it to the end, or ``aclose`` it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: AsyncIterator[bytes]


def is_push(path_info: str, query: str) -> bool:
    """Whether a request writes (it needs a developer), by the two shapes that a push has."""
    return path_info == "/git-receive-pack" or (
        path_info == "/info/refs" and "service=git-receive-pack" in query.split("&")
    )


async def serve_git(
    repos: Path,
    *,
    project: str,
    path_info: str,
    query: str,
    method: str,
    headers: Mapping[str, str],
    body: AsyncIterator[bytes],
    user: str,
    on_push: Callable[[], None],
    standing: Standing | None = None,
    limit_bytes: int = BODY_BYTES,
    timeout_s: float = SERVE_S,
) -> GitResponse:
    """Serve one request of a git client to ``repos/<project>.git``.

    ``path_info`` is what follows the repository's name: ``/info/refs``, ``/git-upload-pack`` or
    ``/git-receive-pack``; ``headers`` have lower-case names; ``user`` is already authenticated and
    allowed; ``standing`` is for the hook. ``on_push`` is called when a push's command has ended,
    whatever came of it.

    Errors: ``NotFound`` for another path or no repository, ``TooLarge`` for a body over ``limit_bytes``,
    ``TimedOut`` after ``timeout_s``, ``Unreachable`` when git is not installed.
    """
    _check(repos, project, path_info, query, method)
    env = {**_cgi(repos, project, path_info, query, method, headers, user), **told(standing)}
    backend = await _start(env)
    feeder = asyncio.create_task(_feed(backend, body, limit_bytes))
    served = _Served(backend, feeder, on_push if path_info == "/git-receive-pack" else None, timeout_s)
    try:
        status, answered = await served.head()
    except BaseException:
        await served.close()
        raise
    return GitResponse(status=status, headers=answered, body=served.stream())


class _Served:
    """One running http-backend: its head, then its body, then its end."""

    def __init__(
        self,
        backend: asyncio.subprocess.Process,
        feeder: asyncio.Task[None],
        on_end: Callable[[], None] | None,
        timeout_s: float,
    ) -> None:
        self._backend = backend
        self._feeder = feeder
        self._on_end = on_end
        self._deadline_s = asyncio.get_running_loop().time() + timeout_s
        self._timeout_s = timeout_s
        assert backend.stdout is not None and backend.stderr is not None
        self._out = backend.stdout
        self._said = asyncio.create_task(_drain(backend.stderr))

    async def head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Status and headers, once the whole body was taken.

        git writes its head before it reads, and answers after: so a body that is refused midway is still
        answered by its own status, and nothing waits, since neither of git's services talks in between.
        """
        reading = asyncio.ensure_future(self._out.readuntil(b"\r\n\r\n"))
        try:
            async with asyncio.timeout_at(self._deadline_s):
                await self._feeder
                return _parse(await reading)
        except TimeoutError as error:
            raise self._late() from error
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise PoiseError(
                "POISE-G110",
                "git http-backend gave no answer",
                why=(await self._said).decode(errors="replace"),
                mend="Push again; then run `poise doctor`.",
            ) from error
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def stream(self) -> AsyncIterator[bytes]:
        """The body, as git makes it."""
        try:
            while chunk := await self._within(self._out.read(CHUNK_BYTES)):
                yield chunk
            await self._within(self._backend.wait())
        except TimeoutError as error:
            raise self._late() from error
        finally:
            await asyncio.shield(self.close())

    async def _within(self, doing: Awaitable[Result]) -> Result:
        """Each wait ends at the one deadline. (A scope around a ``yield`` would cancel the reader.)"""
        async with asyncio.timeout_at(self._deadline_s):
            return await doing

    async def close(self) -> None:
        """End the command if it runs still; git undoes a push that was cut off."""
        self._feeder.cancel()
        if self._backend.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._backend.pid, signal.SIGKILL)  # its children too: they hold our pipes
            while await self._out.read(CHUNK_BYTES):  # a pipe left full would keep its end from being seen
                pass
            await self._backend.wait()
        self._said.cancel()
        if self._on_end is not None:
            ended, self._on_end = self._on_end, None
            ended()

    def _late(self) -> TimedOut:
        what = f"git did not finish within {self._timeout_s:g} s"
        return TimedOut("POISE-G111", what, mend="Push less at once, or try again.")


def _check(repos: Path, project: str, path_info: str, query: str, method: str) -> None:
    known = {("GET", "/info/refs"), *(("POST", f"/{service}") for service in _SERVICES)}
    service = query.removeprefix("service=") if path_info == "/info/refs" else path_info[1:]
    if (method, path_info) not in known or service not in _SERVICES:
        raise NotFound("POISE-G112", f"{method} {path_info[:100]} is no request of a git client",
                       mend="Use git 2.0 or later: `git push poise main`.")  # fmt: skip
    if "/" in project or project.startswith(".") or not (repos / f"{project}.git").is_dir():
        raise NotFound("POISE-G106", f"project {project[:100]!r} has no repository",
                       mend="Run `poise status` to see the projects.")  # fmt: skip


def _cgi(
    repos: Path, project: str, path_info: str, query: str, method: str, headers: Mapping[str, str], user: str
) -> dict[str, str]:
    """The variables of RFC 3875 that http-backend reads, and no other header."""
    env = {
        "GIT_PROJECT_ROOT": str(repos),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{project}.git{path_info}",
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "REMOTE_USER": user,
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": headers.get("content-type", ""),
    }
    length = headers.get("content-length", "")
    if length and not (length.isascii() and length.isdigit()):
        raise Invalid("POISE-G113", "Content-Length is not a number", mend="Send it as digits.")
    optional = {
        "CONTENT_LENGTH": length,
        "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
        "GIT_PROTOCOL": headers.get("git-protocol", ""),
    }
    return {**env, **{name: value for name, value in optional.items() if value}}


async def _start(env: Mapping[str, str]) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    try:
        return await asyncio.create_subprocess_exec(
            "git", "http-backend", stdin=pipe, stdout=pipe, stderr=pipe, cwd="/",
            env=environment(env), limit=HEADER_BYTES, start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Unreachable(
            "POISE-G102", "git is not installed", why=str(error), mend="Run `apt-get install git`."
        ) from error


async def _feed(backend: asyncio.subprocess.Process, body: AsyncIterator[bytes], limit_bytes: int) -> None:
    """Hand the body on, no faster than git takes it; ``TooLarge`` past the limit."""
    assert backend.stdin is not None
    fed = 0
    async for chunk in body:
        fed += len(chunk)
        if fed > limit_bytes:
            raise TooLarge(
                "POISE-G114",
                f"the push is over {limit_bytes} bytes",
                why="Poise takes no larger body.",
                mend="Push in parts: `git push poise <older commit>:main`, then the rest.",
            )
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # git has answered already
            backend.stdin.write(chunk)
            await backend.stdin.drain()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        backend.stdin.close()


async def _drain(stream: asyncio.StreamReader) -> bytes:
    """The last words on standard error; the rest is read and let go, so that git never waits for it."""
    said = b""
    while chunk := await stream.read(CHUNK_BYTES):
        said = (said + chunk)[-SAID_BYTES:]
    return said


def _parse(head: bytes) -> tuple[int, tuple[tuple[str, str], ...]]:
    """CGI's head: ``Status: 404 Not Found`` is the status (200 without one), the rest are headers."""
    rows = (line.partition(":") for line in head.decode("latin-1").split("\r\n") if line)
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in rows]
    status = next((int(value[:3]) for name, value in pairs if name == "status"), 200)
    return status, tuple(pair for pair in pairs if pair[0] != "status")
