"""A real Envoy that refuses what it is asked: users are served as before, and the route says why."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.fleet.test_real_parts import SERVICE, first_light, load, rollout, running

from poise.model.delivery import RolloutState
from poise.model.service import Preview, Strategy

pytestmark = pytest.mark.anyio
REFUSED = Strategy(preview=Preview(header="not\na header"))  # no push gets it in: the declaration is refused


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
