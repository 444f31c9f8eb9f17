"""Pushes and clones by a real git client, over real HTTP, through the hook."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from poise.adapters.git import GitRepositories
from poise.adapters.git.http_backend import serve_git
from poise.adapters.git.standing import Standing
from poise.model.errors import NotFound, PoiseError, TooLarge
from poise.model.service import Previews

SERVICE = """
apiVersion: poise.dev/v1
kind: Service
metadata: {name: hello}
spec:
  command: python3 server.py
  port: 8080
"""
WORKFLOW = "on: push\njobs:\n  build:\n    runs-on: ubuntu-latest\n    steps:\n      - run: 'true'\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Server:
    """The smallest HTTP server that hands requests on: one per connection."""

    def __init__(self, repos: Path, limit_bytes: int = 2**24, timeout_s: float = 60.0) -> None:
        self.repos, self.limit_bytes, self.timeout_s = repos, limit_bytes, timeout_s
        self.pushes = 0
        self.standing: Standing | None = None
        self.url = ""

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    def _pushed(self) -> None:
        self.pushes += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {n.lower(): v.strip() for n, _, v in (row.partition(":") for row in head[1:] if row)}
            path, _, query = target.partition("?")
            project, _, rest = path[1:].partition(".git")
            if "100-continue" in headers.get("expect", ""):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            try:
                answer = await serve_git(
                    self.repos, project=project, path_info=rest, query=query, method=method, headers=headers,
                    body=self._body(reader, headers), user="ada", on_push=self._pushed,
                    standing=self.standing, limit_bytes=self.limit_bytes, timeout_s=self.timeout_s,
                )  # fmt: skip
            except PoiseError as error:
                writer.write(
                    f"HTTP/1.1 {error.http_status} {error.code}\r\nconnection: close\r\n\r\n".encode()
                )
                return
            writer.write(f"HTTP/1.1 {answer.status} X\r\nconnection: close\r\n".encode())
            for name, value in answer.headers:
                writer.write(f"{name}: {value}\r\n".encode())
            writer.write(b"\r\n")
            async for chunk in answer.body:
                writer.write(chunk)
                await writer.drain()
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()
                await writer.wait_closed()

    async def _body(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                yield await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        left = int(headers.get("content-length", "0"))
        while left:
            chunk = await reader.read(min(left, 65536))
            left -= len(chunk)
            yield chunk


async def git(folder: Path, *args: str) -> tuple[int, str]:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "http.postBuffer=65536")
    process = await asyncio.create_subprocess_exec(
        "git", *who, *args, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@pytest.fixture
async def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    await git(folder, "init", "-q", "-b", "main")
    return folder


async def commit(copy: Path, files: dict[str, str | bytes]) -> None:
    for name, text in files.items():
        path = copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    await git(copy, "add", ".")
    code, said = await git(copy, "commit", "-q", "-m", "feat: x")
    assert code == 0, said


@pytest.mark.anyio
async def test_a_push_lands_and_is_told_and_a_clone_reads_it(tmp_path: Path, copy: Path) -> None:
    """What a user does first; large enough that git sends it in chunks."""
    repositories = GitRepositories(tmp_path / "repos")
    repositories.ensure("shop")
    await commit(
        copy, {"poise.yaml": SERVICE, ".github/workflows/ci.yml": WORKFLOW, "big": os.urandom(2**20)}
    )
    async with Server(tmp_path / "repos") as server:
        code, said = await git(copy, "push", f"{server.url}/shop.git", "main")
        assert code == 0, said
        code, said = await git(tmp_path, "clone", "-q", f"{server.url}/shop.git", "clone")
        assert code == 0, said
    assert server.pushes >= 1
    assert (tmp_path / "clone/big").read_bytes() == (copy / "big").read_bytes()


@pytest.mark.anyio
async def test_a_push_with_an_unknown_key_is_refused_with_its_line(tmp_path: Path, copy: Path) -> None:
    """The person who pushes learns where, why and how; nothing is applied."""
    repositories = GitRepositories(tmp_path / "repos")
    repositories.ensure("shop")
    bad = WORKFLOW.replace("    steps", "    services: {}\n    steps")
    await commit(copy, {"poise.yaml": SERVICE.replace("port:", "prot:"), ".github/workflows/ci.yml": bad})
    async with Server(tmp_path / "repos") as server:
        code, said = await git(copy, "push", f"{server.url}/shop.git", "main")
        assert code != 0
        assert "poise.yaml:7:3" in said and "'port'" in said, said
        assert "ci.yml:5:5" in said, said
        assert "Nothing was applied" in said
        assert repositories.branches("shop") == {}
        code, said = await git(copy, "push", f"{server.url}/shop.git", "main:topic")
        assert code == 0, said


@pytest.mark.anyio
async def test_a_branch_is_told_what_is_on_record(tmp_path: Path, copy: Path) -> None:
    """The server knows what is declared; the hook, three processes further down, says what follows."""
    GitRepositories(tmp_path / "repos").ensure("shop")
    await commit(copy, {"poise.yaml": SERVICE})
    async with Server(tmp_path / "repos") as server:
        await git(copy, "push", f"{server.url}/shop.git", "main")
        server.standing = Standing(branch="main", previews=Previews(branches=("feature/*",)))
        await commit(copy, {"a": "1"})
        code, said = await git(copy, "push", f"{server.url}/shop.git", "main:feature/x")
    assert code == 0 and "remote: note: feature/x gets a preview of hello once it is built" in said, said


@pytest.mark.anyio
async def test_a_host_name_of_another_project_is_refused(tmp_path: Path, copy: Path) -> None:
    """Two projects with a service of one name: the second learns at once, and how to go on."""
    repositories = GitRepositories(tmp_path / "repos")
    repositories.ensure("one")
    repositories.ensure("two")
    await commit(copy, {"poise.yaml": SERVICE})
    async with Server(tmp_path / "repos") as server:
        for _ in range(2):
            code, said = await git(copy, "push", f"{server.url}/one.git", "main")
            assert code == 0, said
        code, said = await git(copy, "push", f"{server.url}/two.git", "main")
        assert code != 0 and "already that of one/production/" in said and ".two.localhost" in said, said
        name = SERVICE.split("name: ")[1].split("}")[0].split("\n")[0]
        assert repositories.branches("two") == {}
        await commit(copy, {"poise.yaml": SERVICE.rstrip() + f"\n  hostname: {name}.two.localhost\n"})
        code, said = await git(copy, "push", f"{server.url}/two.git", "main")
        assert code == 0, said


RULES = "groups:\n  - name: web\n    rules:\n      - alert: Down\n        expr: up == 0\n"


@pytest.mark.anyio
async def test_a_push_with_a_mistyped_rule_is_refused_with_its_line(tmp_path: Path, copy: Path) -> None:
    """A rule that cannot be evaluated would page nobody; it is known before it lands."""
    GitRepositories(tmp_path / "repos").ensure("shop")
    head = "---\napiVersion: poise.dev/v1\nkind: Project\nmetadata: {name: shop}\n"
    project = f"{head}spec: {{ruleFiles: rules/*.yml}}\n"
    await commit(copy, {"poise.yaml": SERVICE + project})
    async with Server(tmp_path / "repos") as server:
        code, said = await git(copy, "push", f"{server.url}/shop.git", "main")
        assert code != 0
        assert "poise.yaml:12:19" in said and "no file 'rules/*.yml'" in said, said
        await commit(copy, {"rules/web.yml": RULES.replace("up == 0", "rate(up) == 0")})
        code, said = await git(copy, "push", f"{server.url}/shop.git", "main")
        assert code != 0
        assert "rules/web.yml:5:15" in said and "POISE-S130" in said, said
        await commit(copy, {"rules/web.yml": RULES})
        code, said = await git(copy, "push", f"{server.url}/shop.git", "main")
        assert code == 0, said


@pytest.mark.anyio
async def test_a_push_that_is_not_a_fast_forward_is_refused(tmp_path: Path, copy: Path) -> None:
    """History is what the record refers to."""
    repositories = GitRepositories(tmp_path / "repos")
    repositories.ensure("shop")
    await commit(copy, {"a": "1"})
    async with Server(tmp_path / "repos") as server:
        await git(copy, "push", f"{server.url}/shop.git", "main")
        head = repositories.head("shop", "main")
        await git(copy, "commit", "-q", "--amend", "-m", "feat: other")
        code, said = await git(copy, "push", "--force", f"{server.url}/shop.git", "main")
    assert code != 0 and "non-fast-forward" in said
    assert repositories.head("shop", "main") == head


@pytest.mark.anyio
async def test_a_push_over_the_limit_is_refused_and_nothing_lands(tmp_path: Path, copy: Path) -> None:
    """The disk is everybody's."""
    repositories = GitRepositories(tmp_path / "repos")
    repositories.ensure("shop")
    await commit(copy, {"big": os.urandom(2**20)})
    async with Server(tmp_path / "repos", limit_bytes=2**19) as server, asyncio.timeout(20):
        code, _ = await git(copy, "push", f"{server.url}/shop.git", "main")
    assert code != 0
    assert repositories.branches("shop") == {}


async def none() -> AsyncIterator[bytes]:
    return
    yield b""


async def ask(repos: Path, method: str, path: str, query: str = "", **more: object) -> int:
    wanted: dict[str, object] = {"body": none(), "headers": {}, **more}
    answer = await serve_git(
        repos, project="shop", path_info=path, query=query, method=method, user="ada",
        on_push=lambda: None, **wanted,  # type: ignore[arg-type]
    )  # fmt: skip
    async for _ in answer.body:
        pass
    return answer.status


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/HEAD", ""),
        ("GET", "/objects/info/packs", ""),
        ("GET", "/info/refs", ""),
        ("GET", "/info/refs", "service=git-shell"),
        ("GET", "/../other.git/info/refs", "service=git-upload-pack"),
        ("PUT", "/git-receive-pack", ""),
    ],
)
async def test_only_what_a_git_client_asks_is_served(
    tmp_path: Path, method: str, path: str, query: str
) -> None:
    """The files of a repository, its configuration and its hooks are not reachable."""
    GitRepositories(tmp_path, hook=False).ensure("shop")
    with pytest.raises(NotFound):
        await ask(tmp_path, method, path, query)


@pytest.mark.anyio
async def test_a_body_over_its_limit_is_too_large(tmp_path: Path) -> None:
    """413, whether the client says its length or not."""
    GitRepositories(tmp_path, hook=False).ensure("shop")

    async def endless() -> AsyncIterator[bytes]:
        yield b"0000"
        while True:
            yield b"x" * 65536

    with pytest.raises(TooLarge):
        await ask(tmp_path, "POST", "/git-receive-pack", body=endless(), limit_bytes=2**20,
                  headers={"content-type": "application/x-git-receive-pack-request"})  # fmt: skip


@pytest.mark.anyio
async def test_a_body_that_never_comes_is_a_time_out(tmp_path: Path) -> None:
    """No command waits for ever behind a client that went quiet."""
    GitRepositories(tmp_path, hook=False).ensure("shop")

    async def silent() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    with pytest.raises(TimeoutError):
        await ask(tmp_path, "POST", "/git-upload-pack", body=silent(), timeout_s=0.2,
                  headers={"content-type": "application/x-git-upload-pack-request"})  # fmt: skip


@pytest.mark.anyio
async def test_a_compressed_body_is_understood(tmp_path: Path) -> None:
    """git compresses long negotiations."""
    GitRepositories(tmp_path, hook=False).ensure("shop")

    async def packed() -> AsyncIterator[bytes]:
        yield gzip.compress(b"0000")

    headers = {"content-type": "application/x-git-upload-pack-request", "content-encoding": "gzip"}
    assert await ask(tmp_path, "POST", "/git-upload-pack", body=packed(), headers=headers) == 200
