"""Who asks both sides itself: real GETs to real ports, a round at a time, counted apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from poise.adapters.probe import LoopbackProbe
from poise.delivery.rollout.prober import Prober, Sides
from poise.delivery.rollout.sequential import Total

KEY = "acme/production/shop"


class App:
    """A server on a port of its own that answers ``status`` and keeps what it was asked."""

    def __init__(self, status: int) -> None:
        self.status, self.asked, self.port = status, list[str](), 0

    async def serve(self, *, task_status: anyio.abc.TaskStatus[int]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener:
            task_status.started(self.port)
            await listener.serve(self._answer)

    async def _answer(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            self.asked.append((await stream.receive()).split(b"\r\n", 1)[0].decode())
            await stream.send(f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\n\r\n".encode())


def probed(status: int, then: Callable[[Prober, App, App, Sides], Awaitable[None]]) -> None:
    """Run ``then`` while a prober asks a stable side that is well and a canary that answers ``status``."""

    async def scenario() -> None:
        stable, canary = App(200), App(status)
        prober = Prober(LoopbackProbe(), round_s=0.01)
        async with anyio.create_task_group() as group:
            await group.start(stable.serve)
            await group.start(canary.serve)
            group.start_soon(prober.run)
            sides = Sides(
                canary=2, baseline=1, canary_ports=(canary.port,), baseline_ports=(stable.port,), path="/cart"
            )
            with anyio.fail_after(30):
                await then(prober, canary, stable, sides)
            group.cancel_scope.cancel()

    anyio.run(scenario)


async def until(prober: Prober, rounds: int) -> tuple[Total, ...]:
    while True:
        found = prober.totals(KEY)
        if found and found[0].trials >= rounds:
            return found
        await anyio.sleep(0.005)


def test_both_sides_are_asked_in_the_same_round_for_what_is_declared() -> None:
    async def then(prober: Prober, canary: App, stable: App, sides: Sides) -> None:
        prober.watch(KEY, sides)
        assert [(one.rollout, one.trials) for one in prober.totals(KEY)] == [(2, 0), (1, 0)]
        of_canary, of_stable = await until(prober, 5)
        assert of_canary.trials == of_stable.trials
        assert (of_canary.failures, of_stable.failures) == (of_canary.trials, 0)
        assert set(canary.asked) == set(stable.asked) == {"GET /cart HTTP/1.1"}

    probed(503, then)


def test_a_round_that_both_sides_fail_is_none() -> None:
    """A page that exists nowhere would else make later harm look smaller."""

    async def then(prober: Prober, canary: App, stable: App, sides: Sides) -> None:
        stable.status = 404
        prober.watch(KEY, sides)
        while len(stable.asked) < 5:
            await anyio.sleep(0.005)
        assert prober.totals(KEY)[0].trials == 0
        canary.status = 200
        of_canary, of_stable = await until(prober, 3)
        assert (of_canary.failures, of_stable.failures) == (0, of_stable.trials)

    probed(404, then)


def test_another_pair_begins_at_zero_and_nobody_is_asked_any_more_once_users_ask() -> None:
    async def then(prober: Prober, canary: App, stable: App, sides: Sides) -> None:
        prober.watch(KEY, sides)
        first = await until(prober, 2)
        prober.watch(KEY, sides)
        assert prober.totals(KEY)[0].epoch == first[0].epoch
        other = Sides(canary=3, baseline=1, canary_ports=(), baseline_ports=(stable.port,), path="/cart")
        prober.watch(KEY, other)
        assert prober.totals(KEY)[0].trials == 0 and prober.totals(KEY)[0].epoch != first[0].epoch
        prober.watch(KEY, None)
        assert prober.totals(KEY) == ()

    probed(200, then)


def test_a_round_without_a_ready_replica_on_either_side_is_none() -> None:
    """A side that nobody asked must not look as if it had answered."""

    async def then(prober: Prober, canary: App, stable: App, sides: Sides) -> None:
        prober.watch(KEY, Sides(canary=3, baseline=1, canary_ports=(), baseline_ports=(9,), path="/"))
        prober.watch("acme/production/other", sides)
        while not prober.totals("acme/production/other")[0].trials:
            await anyio.sleep(0.005)
        assert prober.totals(KEY)[0].trials == 0

    probed(200, then)
