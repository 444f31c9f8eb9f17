"""What the prober remembers, with a probe and a clock of ours."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from poise.fleet.prober import Prober, Target
from poise.model.fleet import Identity
from poise.model.service import Health, Protocol
from poise.ports.probe import ProbeResult

pytestmark = pytest.mark.anyio
KEY = "acme/production/shop/000001/000"
OWNER = "acme/production/shop"
HEALTH = Health(interval_s=0.02, timeout_s=0.02, failures=3)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Answers:
    """The Probe port, answering what it is told to."""

    def __init__(self) -> None:
        self.result = ProbeResult.OK
        self.asked = 0

    async def ask(self, port: int, path: str, timeout_s: float, spoken: Protocol) -> ProbeResult:
        self.asked += 1
        return self.result


def target(pid: int = 1, port: int | None = 5) -> Target:
    return Target(key=KEY, identity=Identity(pid=pid, start_ticks=pid), port=port, health=HEALTH)


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(5):
        while not holds():
            await anyio.sleep(0.002)


async def test_failures_count_in_a_row_and_one_good_answer_ends_them() -> None:
    """A slow replica that answers now and then is not a hanging one."""
    answers, woken = Answers(), []
    prober = Prober(answers, lambda pid: False, woken.append)
    async with anyio.create_task_group() as group:
        group.start_soon(prober.run)
        prober.watch(OWNER, [target()])
        await until(lambda: (p := prober.latest(KEY)) and p.ok)
        answers.result = ProbeResult.SLOW
        await until(lambda: (p := prober.latest(KEY)) and p.failures >= 2)
        answers.result = ProbeResult.OK
        await until(lambda: (p := prober.latest(KEY)) and p.ok and p.failures == 0)
        group.cancel_scope.cancel()
    assert set(woken) == {OWNER}


async def test_a_stopped_process_hangs_for_certain() -> None:
    """State T needs no second opinion."""
    answers = Answers()
    prober = Prober(answers, lambda pid: True, lambda service: None)
    async with anyio.create_task_group() as group:
        group.start_soon(prober.run)
        prober.watch(OWNER, [target()])
        await until(lambda: prober.latest(KEY))
        answers.result = ProbeResult.SLOW
        await until(lambda: (p := prober.latest(KEY)) and not p.ok)
        heard = prober.latest(KEY)
        group.cancel_scope.cancel()
    assert heard is not None and heard.failures >= HEALTH.failures


async def test_another_process_starts_with_a_clean_slate_and_may_take_its_time() -> None:
    """What was heard belongs to one exact process; a starting one is not failing."""
    answers = Answers()
    prober = Prober(answers, lambda pid: False, lambda service: None)
    async with anyio.create_task_group() as group:
        group.start_soon(prober.run)
        prober.watch(OWNER, [target()])
        await until(lambda: prober.latest(KEY))
        answers.result = ProbeResult.REFUSED
        prober.watch(OWNER, [target(pid=2)])
        assert prober.latest(KEY) is None
        asked = answers.asked
        await until(lambda: answers.asked > asked + 3)
        assert prober.latest(KEY) is None
        answers.result = ProbeResult.OK
        await until(lambda: prober.latest(KEY))
        heard = prober.latest(KEY)
        prober.watch(OWNER, [])
        assert prober.latest(KEY) is None
        group.cancel_scope.cancel()
    assert heard is not None and heard.identity.pid == 2


async def test_a_worker_without_a_port_is_well_while_it_runs() -> None:
    """There is nothing to ask."""
    answers = Answers()
    prober = Prober(answers, lambda pid: False, lambda service: None)
    async with anyio.create_task_group() as group:
        group.start_soon(prober.run)
        prober.watch(OWNER, [target(port=None)])
        await until(lambda: (p := prober.latest(KEY)) and p.ok)
        group.cancel_scope.cancel()
    assert answers.asked == 0
