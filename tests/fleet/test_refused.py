"""A real Envoy that refuses what it is asked: users are served as before, and the route says why."""

from __future__ import annotations

import socket
from collections.abc import Collection
from contextlib import ExitStack

import pytest
from msgspec.structs import replace
from tests.fleet.test_real_parts import KEY, SERVICE, first_light, load, rollout, running

from poise.adapters.probe import fixed_port
from poise.model.delivery import RolloutState
from poise.model.event_types import REPLICA_KILLED, REPLICA_STOPPED
from poise.model.service import Preview, Strategy

pytestmark = pytest.mark.anyio
REFUSED = Strategy(preview=Preview(header="not\na header"))  # no push gets it in: the declaration is refused

DEAF = """trap '' TERM; exec python3 -I -S -c '
import signal
signal.signal = lambda *_: None
exec(open("app.py").read())'"""  # what is ignored stays so across exec


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_what_envoy_refuses_is_on_the_route_in_its_own_words_until_it_takes_a_change_again() -> None:
    """Otherwise a rollout stands still, and nobody knows why."""
    async with running() as place:
        await first_light(place)
        two = replace(rollout(2), spec=replace(SERVICE, strategy=REFUSED), state=RolloutState.STEPPING)
        with load(place.ingress) as got:
            await place.put(two)

            async def troubled() -> bool:
                return bool((await place.route()).trouble)

            await place.until(troubled, 25.0)
            route = await place.route()
            assert route.trouble.startswith(
                "POISE-F303 Envoy refused rds.json; what it ran before still serves"
            )
            assert "value does not match regex" in route.trouble
            assert route.acked == {1: 100} and route.troubled_since is not None
            await place.put(replace(two, state=RolloutState.FAILED))

            async def taken() -> bool:
                now = await place.route()
                return not now.trouble and now.acked_version == now.version

            await place.until(taken)
        assert {status for status, _ in got} == {200}, [bad for bad in got if bad[0] != 200][:3]


async def test_a_port_that_another_program_takes_before_envoy_can_is_given_up_for_the_next() -> None:
    """Else no service's traffic changes any more: Envoy refuses all listeners for the one."""
    given: list[int] = []
    with ExitStack() as stack:
        other = stack.enter_context(socket.socket())

        def chosen(name: str, taken: Collection[int]) -> int | None:
            port = fixed_port(name, taken)
            assert port is not None
            if not given:
                other.bind(("127.0.0.1", port))
                other.listen()
            given.append(port)
            return port

        async with running(chosen) as place:
            await first_light(place)
            route = await place.route()
            assert (route.port, route.trouble) == (given[-1], "")
            assert given[-1] != given[0]
            with load(place.ingress) as got:
                await place.until(lambda: _several(got))
            assert {status for status, _ in got} == {200}


async def _several(got: list[tuple[int, str]]) -> bool:
    return len(got) >= 10


async def test_a_replica_that_is_deaf_to_sigterm_is_killed_and_that_is_told() -> None:
    """Whoever wrote it must learn that what it was doing is lost at each release."""
    deaf = replace(SERVICE, strategy=Strategy(drain_s=1.0), command=DEAF)
    async with running() as place:
        one = replace(rollout(1), spec=deaf)
        await place.put(deaf)
        one = await place.rise(one, 100, 1, RolloutState.PROMOTING)
        await place.until(lambda: place.acked({1: 100}))
        await place.put(replace(one, state=RolloutState.LIVE))
        two = await place.rise(rollout(2), 100, 1, RolloutState.PROMOTING)
        await place.until(lambda: place.acked({2: 100}))
        await place.put(replace(two, state=RolloutState.LIVE), replace(one, state=RolloutState.SUPERSEDED))
        types = (REPLICA_STOPPED, REPLICA_KILLED)

        async def told() -> bool:
            return len(await place.store.journal(types=types)) == 4

        await place.until(told)
        rows = await place.store.journal(types=types)
    killed = [row.event for row in rows if row.event.type == REPLICA_KILLED]
    assert {event.subject for event in killed} == {KEY}
    assert {event.data["replica"] for event in killed} == {f"{KEY}/000001/000", f"{KEY}/000001/001"}
    assert all("ran on for 1 s after SIGTERM and was killed" in event.summary for event in killed)
