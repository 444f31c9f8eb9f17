"""One incident per cause, whatever comes in which order; and what people say in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest
from tests.reliability.incident.world import World

from poise.model.errors import Conflict
from poise.model.incident import AlertSource, IncidentState, IncidentVerb, Severity

CHAIN = {"storefront": ("catalog",), "catalog": ("payments",), "payments": (), "search": ()}


def play(story: Callable[[World], Awaitable[None]], needs: dict[str, tuple[str, ...]] = CHAIN) -> None:
    async def run() -> None:
        await story(await World(needs).start())

    anyio.run(run)


def test_alerts_of_services_that_need_one_another_are_one_incident_where_the_cause_shows() -> None:
    async def story(world: World) -> None:
        await world.alert("storefront")
        await world.alert("payments", severity=Severity.SEV2)
        await world.alert("catalog")
        await world.passes(10)
        (one,) = await world.incidents()
        assert (one.service, one.severity) == ("shop/production/payments", Severity.SEV1)
        assert [key.rsplit("/", 1)[-1] for key in one.services] == ["catalog", "payments", "storefront"]
        assert (one.alert_count, len(one.alerts)) == (3, 3)
        assert one.title.startswith("payments: ")

    play(story)


def test_services_that_have_nothing_to_do_with_one_another_are_two_incidents() -> None:
    async def story(world: World) -> None:
        await world.alert("search")
        await world.alert("payments")
        await world.alert("storefront")  # catalog, between the two, does not alert
        await world.passes(10)
        assert len(await world.incidents()) == 3

    play(story)


def test_a_short_wait_lets_alerts_of_one_cause_fold_in() -> None:
    async def story(world: World) -> None:
        await world.alert("storefront")
        await world.passes(4)
        assert await world.incidents() == []
        await world.alert("catalog")
        await world.passes(2)
        (one,) = await world.incidents()
        assert one.service.endswith("catalog")
        assert one.alert_count == 2

    play(story)


def test_an_alert_that_links_two_incidents_merges_them_and_keeps_the_acknowledgement() -> None:
    async def story(world: World) -> None:
        await world.alert("storefront")
        await world.passes(6)
        await world.alert("payments")
        await world.passes(6)
        await world.say(2, IncidentVerb.ACKNOWLEDGE)
        await world.alert("catalog")
        await world.passes(1)
        first, second = await world.incidents()
        assert (second.state, second.merged_into) == (IncidentState.MERGED, 1)
        assert (first.state, first.acknowledged_by) == (IncidentState.ACKNOWLEDGED, "ann")
        assert first.service.endswith("payments")
        assert {group.incident for group in await world.groups()} == {1}

    play(story)


def test_what_begins_much_later_elsewhere_is_another_incident() -> None:
    async def story(world: World) -> None:
        await world.alert("payments")
        await world.passes(700)
        await world.alert("catalog")
        await world.passes(10)
        assert [one.service.rsplit("/", 1)[-1] for one in await world.incidents()] == ["payments", "catalog"]

    play(story)


def test_a_flapping_alert_is_one_incident_that_resolves_once_it_stays_clear() -> None:
    async def story(world: World) -> None:
        for _ in range(4):
            await world.alert("search")
            await world.passes(20)
            await world.over("search")
            await world.passes(200)
        (one,) = await world.incidents()
        assert one.state is IncidentState.OPEN
        assert one.cleared_at is not None
        assert one.alert_count == 1
        await world.passes(120)
        one = await world.incident()
        assert (one.state, one.resolved_by) == (IncidentState.RESOLVED, "poise")

    play(story)


def test_what_fires_again_soon_after_the_end_reopens_the_same_incident() -> None:
    async def story(world: World) -> None:
        await world.alert("search")
        await world.passes(10)
        await world.say(1, IncidentVerb.ACKNOWLEDGE)
        await world.over("search")
        await world.passes(400)
        assert (await world.incident()).state is IncidentState.RESOLVED
        await world.alert("search")
        await world.passes(10)
        (one,) = await world.incidents()
        assert (one.state, one.acknowledged_at) == (IncidentState.OPEN, None)

    play(story)


def test_what_fires_again_long_after_is_a_new_incident() -> None:
    async def story(world: World) -> None:
        await world.alert("search")
        await world.passes(10)
        await world.over("search")
        await world.passes(1000)
        assert await world.groups() == []
        await world.alert("search")
        await world.passes(10)
        assert [one.state for one in await world.incidents()] == [IncidentState.RESOLVED, IncidentState.OPEN]

    play(story)


def test_resolved_by_a_person_it_stays_so_while_the_same_alerts_fire_on() -> None:
    async def story(world: World) -> None:
        await world.alert("search")
        await world.passes(10)
        await world.say(1, IncidentVerb.RESOLVE, "known")
        await world.passes(3000)
        assert [one.state for one in await world.incidents()] == [IncidentState.RESOLVED]
        await world.alert("search", "burn/latency")
        await world.passes(10)
        first, second = await world.incidents()
        assert (first.state, second.state) == (IncidentState.RESOLVED, IncidentState.OPEN)
        assert second.alerts == ("shop/production/search/burn/latency",)

    play(story)


def test_a_worse_alert_raises_the_severity_and_a_persons_rating_stands_otherwise() -> None:
    async def story(world: World) -> None:
        await world.alert("search", severity=Severity.SEV3)
        await world.passes(10)
        assert (await world.incident()).severity is Severity.SEV3
        await world.alert("search", "replicas", severity=Severity.SEV2)
        await world.passes(1)
        assert (await world.incident()).severity is Severity.SEV2
        await world.say(1, IncidentVerb.SEVERITY, "sev3")
        await world.alert("search", "burn/latency", severity=Severity.SEV2)
        await world.passes(1)
        assert (await world.incident()).severity is Severity.SEV3
        await world.alert("search", "down", severity=Severity.SEV1)
        await world.passes(1)
        assert (await world.incident()).severity is Severity.SEV1

    play(story)


def test_missing_signals_everywhere_are_one_incident() -> None:
    async def story(world: World) -> None:
        for name in ("search", "payments", "storefront"):
            await world.alert(name, "signal", source=AlertSource.SIGNAL, severity=Severity.SEV2)
        await world.passes(10)
        assert len(await world.incidents()) == 1

    play(story)


def test_alerts_of_no_known_service_are_grouped_by_what_they_have_in_common() -> None:
    async def story(world: World) -> None:
        told = {
            "a": {"alertname": "Down", "job": "db"},
            "b": {"alertname": "Slow", "job": "db"},
            "c": {"alertname": "Disk", "cluster": "x"},
            "d": {"service_name": "payments"},
        }
        for name, labels in told.items():
            await world.alert("-", f"alertmanager:{name}", source=AlertSource.ALERTMANAGER, labels=labels)
        await world.alert("payments")
        await world.passes(10)
        counts = {one.service.rsplit("/", 1)[-1]: one.alert_count for one in await world.incidents()}
        assert len(await world.incidents()) == 3
        assert counts["payments"] == 2

    play(story)


@pytest.mark.parametrize(
    ("before", "verb", "text"),
    [
        ((IncidentVerb.ACKNOWLEDGE,), IncidentVerb.ACKNOWLEDGE, ""),
        ((IncidentVerb.RESOLVE,), IncidentVerb.MITIGATE, ""),
        ((IncidentVerb.RESOLVE,), IncidentVerb.RESOLVE, ""),
        ((), IncidentVerb.REOPEN, ""),
        ((), IncidentVerb.SEVERITY, "sev9"),
        ((), IncidentVerb.MERGE, "1"),
        ((), IncidentVerb.MERGE, "two"),
    ],
)
def test_what_an_incident_does_not_allow_is_refused_with_a_mend(
    before: tuple[IncidentVerb, ...], verb: IncidentVerb, text: str
) -> None:
    async def story(world: World) -> None:
        await world.alert("search")
        await world.passes(10)
        for one in before:
            await world.say(1, one)
        with pytest.raises(Conflict) as refused:
            await world.say(1, verb, text)
        assert refused.value.mend

    play(story)


def test_people_take_an_incident_from_open_to_resolved_and_each_word_is_told() -> None:
    async def story(world: World) -> None:
        await world.alert("search")
        await world.passes(10)
        for verb in (IncidentVerb.ACKNOWLEDGE, IncidentVerb.NOTE, IncidentVerb.MITIGATE):
            await world.say(1, verb, "a word")
        one = await world.incident()
        assert (one.state, one.orders_seen) == (IncidentState.MITIGATED, 3)
        await world.say(1, IncidentVerb.RESOLVE)
        await world.say(1, IncidentVerb.REOPEN)
        assert (await world.incident()).state is IncidentState.OPEN
        actors = [row.event.actor for row in await world.told()]
        assert actors == ["poise", *["ann"] * 5]

    play(story)


def test_a_person_merges_two_and_its_alerts_move() -> None:
    async def story(world: World) -> None:
        await world.alert("search")
        await world.alert("payments")
        await world.passes(10)
        await world.say(2, IncidentVerb.MERGE, "1")
        first, second = await world.incidents()
        assert second.merged_into == 1
        assert len(first.services) == 2
        await world.over("search")
        await world.passes(1)
        assert (await world.incident()).cleared_at is None  # payments still fires

    play(story)
