"""What Envoy has against a split is on the route from the first refusal to the acknowledgement."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from poise.fleet.decide import decide
from poise.model.delivery import RolloutState
from poise.model.fleet import Route

from .conftest import NOW, World, rollout

REFUSED = "POISE-F303 Envoy refused rds.json; what it ran before still serves."


def look(world: World, trouble: str) -> Route:
    decision = decide(replace(world.see(), trouble=trouble), world.now)
    for write in decision.writes:
        if isinstance(write.body, Route):
            world.route = write.body
    assert world.route is not None
    return world.route


def test_a_refusal_is_noted_with_its_first_instant_and_forgotten_once_envoy_runs_it() -> None:
    """Who looks at the service must see why users do not get what was promoted."""
    world = World(rollout(1, RolloutState.LIVE))
    world.settle()
    assert world.route is not None and world.route.trouble == ""
    known = world.route
    world.route = replace(known, version=known.version + 1)
    noted = look(world, REFUSED)
    assert (noted.trouble, noted.troubled_since) == (REFUSED, world.now)
    first = world.now
    world.now += timedelta(seconds=9)
    assert look(world, "").troubled_since == first, "it is being tried again"
    assert look(world, "POISE-F301 Envoy did not acknowledge it").troubled_since == first
    world.settle()
    assert world.route is not None and (world.route.trouble, world.route.troubled_since) == ("", None)
    assert world.now >= NOW


def test_only_where_nobody_was_served_yet_a_taken_port_is_given_up() -> None:
    """Dependents keep the address that they were told; those who serve keep serving."""
    world = World(rollout(1, RolloutState.LIVE))
    world.settle()
    assert world.route is not None
    known = replace(world.route, port=18051, version=world.route.version + 1)
    taken = "POISE-F303 ... cannot bind '127.0.0.1:18051': Address already in use."
    for acked, trouble, port in (
        (0, taken, 18001),
        (0, taken.replace("18051", "18052"), 18051),
        (0, REFUSED, 18051),
        (known.acked_version, taken, 18051),
    ):
        world.route = replace(known, acked_version=acked)
        assert look(world, trouble).port == port, (acked, trouble)
