"""Runs on real parts: git, bubblewrap, the keeper; only the store is in memory."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from poise.adapters.artifacts import FolderArtifacts
from poise.adapters.bill.folder import FolderBills
from poise.adapters.clock import SystemClock
from poise.adapters.git import GitRepositories
from poise.adapters.keeper.client import KeeperClient
from poise.adapters.keeper.start import ensure_keeper
from poise.adapters.memory import MemoryStore
from poise.adapters.signing import KeyFile
from poise.adapters.workspaces import FolderWorkspaces
from poise.delivery.infrastructure.controller import InfrastructureController
from poise.delivery.pipeline.attesting import Attester, Installation
from poise.delivery.pipeline.controller import PipelineController
from poise.delivery.pipeline.deeds import WORKSPACES_KEPT, JobRunner, Packer
from poise.delivery.source.controller import SourceController
from poise.engine.loop import Loop
from poise.model.acts import PackRelease, RunJob
from poise.model.delivery import Release, Run, RunState
from poise.model.errors import NotFound
from poise.model.event_types import SPEC_REFUSED
from poise.model.record import Write
from poise.model.service import Service
from poise.ports.artifacts import Base
from poise.ports.store import Transaction

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="steps run in bubblewrap")

DEADLINE_S = 40.0

HELLO = """
apiVersion: poise.dev/v1
kind: Service
metadata: {name: hello}
spec:
  command: python3 server.py
  port: 8080
"""

WORKFLOW = """
name: ci
on: push
env: {COLOUR: blue}
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - name: test
        run: |
%s
"""

JUNIT = '<testsuite><testcase name="a"/><testcase name="b"><skipped/></testcase></testsuite>'


def workflow(*lines: str) -> str:
    return WORKFLOW % "\n".join(f"          {line}" for line in lines)


class Tags:
    """Images whose digest is their name's length: a tag that is nowhere is empty."""

    def resolve(self, reference: str) -> str:
        if "gone" in reference:
            raise NotFound("POISE-A201", f"image {reference} is neither on this machine nor to be had")
        return f"sha256:{len(reference):064x}"

    def base(self, digest: str) -> Base | None:
        return Base(name="debian:12", digest=f"sha256:{12:064x}")


class World:
    """One project, its working copy, and a control process that can be killed and come back."""

    def __init__(self, data: Path, runtime: KeeperClient) -> None:
        self.data = data
        self.runtime = runtime
        self.store = MemoryStore()
        self.repositories = GitRepositories(data / "repos", hook=False)
        self.workspaces = FolderWorkspaces(data / "workspaces", data / "logs")
        self.artifacts = FolderArtifacts(data / "releases")
        who = Installation(builder="https://poise.dev/installation/a", version="0", url="http://127.0.0.1")
        self.attester = Attester(KeyFile(data), FolderBills(data / "releases"), who)
        self.copy = data / "copy"
        self.origin = self.repositories.ensure("shop")
        self._git("init", "-q", "-b", "main", str(self.copy), cwd=data)
        self.lives = 0

    def push(self, files: dict[str, str], message: str = "feat: more", branch: str = "main") -> str:
        for name, text in files.items():
            path = self.copy / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._git("add", ".")
        self._git("commit", "-q", "--allow-empty", "-m", message)
        self._git("push", "-q", str(self.origin), f"HEAD:{branch}")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *args: str, cwd: Path | None = None) -> str:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        return subprocess.run(
            ["git", *who, *args], cwd=cwd or self.copy, check=True, capture_output=True, text=True
        ).stdout

    @contextlib.asynccontextmanager
    async def alive(self) -> AsyncIterator[Loop]:
        """A control process; leaving kills it wherever it is."""
        self.lives += 1
        store, clock = self.store, SystemClock()
        loop: Loop

        def wake(run: str) -> None:
            loop.wake("pipeline", f"run/{run}")

        loop = Loop(
            store,
            clock,
            [
                SourceController(store, self.repositories),
                PipelineController(store, self.repositories, self.workspaces),
                InfrastructureController(store, self.repositories),
            ],
            {
                RunJob: JobRunner(store, clock, self.repositories, self.workspaces, self.runtime, wake),
                PackRelease: Packer(
                    store, self.repositories, self.workspaces, self.artifacts, Tags(), wake, self.attester
                ),
            },
            holder="test",
        )
        async with anyio.create_task_group() as group:
            group.start_soon(loop.run)
            yield loop
            group.cancel_scope.cancel()

    async def run(self, n: int = 1) -> Run:
        """The run once it is over."""
        with anyio.fail_after(DEADLINE_S):
            while True:
                run, _ = await self.store.get(Run, f"shop/{n:06d}")
                if run is not None and run.state.is_final:
                    return run
                await anyio.sleep(0.02)

    def log(self, n: int, step: int, job: str = "build") -> str:
        return self.workspaces.log(f"shop/{n:06d}", job, step).read_text()


@pytest.fixture
def data() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="poise-run-"))  # short: a socket's path has 108 bytes
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world(data: Path) -> AsyncIterator[World]:
    ensure_keeper(data)
    async with KeeperClient(data) as runtime:
        yield World(data, runtime)
        await runtime.shutdown(1_000_000, 0)


@pytest.mark.anyio
async def test_a_push_becomes_a_release(world: World) -> None:
    """The whole delivery up to a release, with tests that really run and are counted."""
    lines = (f"echo '{JUNIT}' > report.xml", 'echo "$COLOUR $CI $GITHUB_SHA"', "pwd", "echo made > made.txt")
    commit = world.push({"poise.yaml": HELLO, ".github/workflows/ci.yml": workflow(*lines)})
    async with world.alive():
        run = await world.run()
        (release,), _ = await world.store.scan(Release, "shop/hello/")
        (service,), _ = await world.store.scan(Service, "shop/")
    assert run.state is RunState.SUCCESS, run.problem
    assert (run.tests.passed, run.tests.failed, run.tests.skipped) == (1, 0, 1)
    assert run.releases == (release.key,)
    assert [step.state for step in run.jobs[0].steps] == [RunState.SUCCESS, RunState.SUCCESS]
    assert (release.commit, release.n, release.specs) == (commit, 1, (service,))
    assert (world.artifacts.open(release.digest) / "made.txt").read_text() == "made\n"
    assert world.log(1, 1).splitlines() == [f"blue true {commit}", "/app"]


@pytest.mark.anyio
async def test_a_failed_step_fails_the_run_and_releases_nothing(world: World) -> None:
    """Later steps are skipped, the exit code is kept."""
    world.push({"poise.yaml": HELLO, ".github/workflows/ci.yml": workflow("false", "echo never")})
    async with world.alive():
        run = await world.run()
        releases, _ = await world.store.scan(Release, "shop/")
    assert run.state is RunState.FAILURE
    assert run.jobs[0].steps[1].exit_code == 1
    assert releases == []


@pytest.mark.anyio
async def test_a_refused_workflow_is_an_error_with_its_line(world: World) -> None:
    """What is not supported is never silently ignored."""
    text = workflow("true").replace("    runs-on: ubuntu-latest\n", "    container: alpine\n")
    world.push({"poise.yaml": HELLO, ".github/workflows/ci.yml": text})
    async with world.alive():
        run = await world.run()
    assert run.state is RunState.ERROR
    assert ".github/workflows/ci.yml:7:5" in run.problem


@pytest.mark.anyio
async def test_a_refused_declaration_is_said_once_and_changes_nothing(world: World) -> None:
    """The services that were declared before still hold."""
    world.push({"poise.yaml": HELLO})
    async with world.alive():
        await world.run(1)
        world.push({"poise.yaml": HELLO.replace("port:", "prot:")})
    async with world.alive():
        run = await world.run(2)
    async with world.alive():
        await anyio.wait_all_tasks_blocked()
    services, _ = await world.store.scan(Service, "shop/")
    refused = await world.store.journal(types=(SPEC_REFUSED,))
    assert [service.port for service in services] == [8080]
    assert len(refused) == 1
    assert run.state is RunState.ERROR and "prot" in run.problem


@pytest.mark.anyio
async def test_what_the_newest_runs_left_stays_and_a_run_under_way_loses_nothing(world: World) -> None:
    """A build a minute fills a disk in a week; a run that waits long must still find its results."""
    waits = 3
    for n in range(1, WORKSPACES_KEPT + 6):
        state = RunState.RUNNING if n == waits else RunState.SUCCESS
        old = Run(
            project="shop", n=n, commit=f"{n:040d}", branch="old", workflow="", state=state, jobs=(),
            created_at=SystemClock().now(),
        )  # fmt: skip
        await world.store.commit(
            Transaction(at=old.created_at, writes=[Write(kind="Run", key=old.key, body=old)])
        )
        world.workspaces.end(old.key, "build", RunState.SUCCESS, 0.0)
    stray = world.data / "workspaces/shop/000000"  # no run is on record
    stray.mkdir()
    log = world.workspaces.log("shop/000001", "build", 0)
    log.parent.mkdir(parents=True)
    log.write_text("kept")
    runner = JobRunner(
        world.store, SystemClock(), world.repositories, world.workspaces, world.runtime, lambda run: None
    )
    newest, _ = await world.store.get(Run, f"shop/{WORKSPACES_KEPT + 5:06d}")
    assert newest is not None
    await runner._prune(newest)
    left = [int(key.partition("/")[2]) for key in world.workspaces.runs("shop")]
    assert left == [0, waits, *range(6, WORKSPACES_KEPT + 6)]
    assert log.read_text() == "kept"


@pytest.mark.anyio
async def test_a_killed_server_resumes_without_repeating_a_step(world: World) -> None:
    """The step that runs is awaited under the keeper; the finished one is not run again."""
    lines = ("echo one >> count.txt", "for i in $(seq 300); do [ -e go ] && break; sleep 0.1; done")
    second = "\n      - name: last\n        run: cat count.txt\n"
    world.push({"poise.yaml": HELLO, ".github/workflows/ci.yml": workflow(*lines) + second})
    tree = world.data / "workspaces/shop/000001/build/tree"
    async with world.alive():
        with anyio.fail_after(DEADLINE_S):
            while not (tree / "count.txt").exists():
                await anyio.sleep(0.02)
    async with world.alive():
        (tree / "go").touch()
        run = await world.run()
    assert run.state is RunState.SUCCESS, run
    assert world.log(1, 2) == "one\n"


@pytest.mark.anyio
async def test_a_step_over_its_time_is_a_time_out(world: World) -> None:
    """It ends by its own wrapper, so also while the server is dead."""
    limited = "      - name: test\n        timeout-minutes: 0.01\n"
    text = workflow("sleep 600").replace("      - name: test\n", limited)
    world.push({".github/workflows/ci.yml": text})
    async with world.alive():
        run = await world.run()
    assert run.state is RunState.TIMEOUT, run


@pytest.mark.anyio
async def test_a_step_cannot_read_the_data_folder(world: World) -> None:
    """User code never sees the record, other projects' workspaces or tokens."""
    hidden = f"if [ -e {world.data}/repos ]; then echo seen; else echo hidden; fi"
    world.push({".github/workflows/ci.yml": workflow(hidden, "touch /usr/x 2>/dev/null || echo read-only")})
    async with world.alive():
        run = await world.run()
    assert run.state is RunState.SUCCESS, world.log(1, 1)
    assert world.log(1, 1).splitlines() == ["hidden", "read-only"]


IMAGE = "\n".join(
    ("apiVersion: poise.dev/v1", "kind: Service", "metadata: {name: web}", "spec: {image: '%s'}", "")
)


@pytest.mark.anyio
async def test_an_image_is_released_by_the_digest_that_its_tag_has_now(world: World) -> None:
    """No workspace is packed for it, and no job has to be named."""
    world.push({"poise.yaml": IMAGE % "localhost/web:1"})
    async with world.alive():
        run = await world.run()
    release, _ = await world.store.get(Release, run.releases[0])
    assert release is not None
    assert (release.digest, release.is_image) == (Tags().resolve("localhost/web:1"), True)
    assert not (world.data / "releases").exists()


@pytest.mark.anyio
async def test_an_image_that_is_nowhere_ends_the_run_with_the_reason(world: World) -> None:
    """Nothing is released, so what is live stays."""
    world.push({"poise.yaml": IMAGE % "localhost/gone:1"})
    async with world.alive():
        run = await world.run()
    assert (run.state.is_final, run.state is RunState.SUCCESS, run.releases) == (True, False, ())
    assert "localhost/gone:1 is neither on this machine" in run.problem
