"""Laws of grouping: the order of arrival does not matter, and unconnected services never mix."""

from __future__ import annotations

from datetime import timedelta

import anyio
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tests.reliability.incident.world import PLACE, START, World

from poise.model.incident import Alert, AlertGroup, AlertSource, AlertState, Incident, Severity
from poise.model.service import Service
from poise.reliability.incident.grouping import deepest, parts, place, summed_up

NAMES = "abcdefg"


@st.composite
def towns(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Services; each may need later ones (and one may need an earlier one: a circle is no excuse)."""
    needs = {}
    for index, name in enumerate(NAMES):
        later = NAMES[index + 1 :]
        needs[name] = tuple(draw(st.sets(st.sampled_from(later), max_size=2))) if later else ()
    if draw(st.booleans()):
        needs["g"] = ("a",)
    return needs


def run(needs: dict[str, tuple[str, ...]], arrivals: list[tuple[str, float, bool]]) -> list[Incident]:
    """Alerts of services after pauses; some are over a second later, and fire again."""

    async def story() -> list[Incident]:
        world = await World(needs).start()
        for name, pause_s, flaps in arrivals:
            await world.passes(pause_s)
            await world.alert(name)
            if flaps:
                await world.passes(1)
                await world.over(name)
                await world.passes(1)
                await world.alert(name)
        await world.passes(20)
        return await world.incidents()

    return anyio.run(story)


def partition(incidents: list[Incident]) -> set[frozenset[str]]:
    return {frozenset(one.services) for one in incidents if not one.state.is_final}


@given(
    towns(),
    st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0, 12), st.booleans()), min_size=1, max_size=7),
    st.randoms(use_true_random=False),
)
@examples(max_examples=60, deadline=None)
def test_any_order_of_arrival_gives_the_same_incidents(needs, arrivals, random) -> None:
    once = partition(run(needs, arrivals))
    shuffled = [*arrivals]
    random.shuffle(shuffled)
    assert partition(run(needs, shuffled)) == once
    alerting = {f"{PLACE}/{name}" for name, _, _ in arrivals}
    assert sorted(service for part in once for service in part) == sorted(alerting)  # each in exactly one


@given(towns(), st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
@examples(max_examples=100, deadline=None)
def test_a_part_is_connected_through_services_that_alert(needs, names) -> None:
    services, groups = declared(needs), [group(name) for name in names]
    for part in parts(groups, services, 600):
        reached, rest = {part[0].service}, {one.service for one in part[1:]}
        while found := {
            one for one in rest for other in reached if linked(one, other, needs) or linked(other, one, needs)
        }:
            reached |= found
            rest -= found
        assert rest == set()


def linked(one: str, other: str, needs: dict[str, tuple[str, ...]]) -> bool:
    return other.rsplit("/", 1)[-1] in needs[one.rsplit("/", 1)[-1]]


def declared(needs: dict[str, tuple[str, ...]]) -> dict[str, Service]:
    made = [
        Service(project="shop", environment="production", name=name, command="run", depends_on=of)
        for name, of in needs.items()
    ]
    return {service.key: service for service in made}


def group(name: str, onset_s: float = 0, severity: Severity = Severity.SEV1, **more) -> AlertGroup:
    at = START + timedelta(seconds=onset_s)
    return AlertGroup(
        service=f"{PLACE}/{name}", seen_at=at, onset_at=at, fired_at=at, firing=1, count=1,
        severity=severity, **more,
    )  # fmt: skip


def alert(name: str, at_s: float, *, ended_s: float | None = None, **labels: str) -> Alert:
    return Alert(
        service=f"{PLACE}/-", name=name, source=AlertSource.ALERTMANAGER, severity=Severity.SEV2,
        state=AlertState.FIRING if ended_s is None else AlertState.RESOLVED, summary=name, labels=labels,
        started_at=START + timedelta(seconds=at_s), seen_at=START + timedelta(seconds=at_s),
        ended_at=None if ended_s is None else START + timedelta(seconds=ended_s),
    )  # fmt: skip


def test_groups_far_apart_in_time_are_not_linked_and_close_ones_are() -> None:
    services = declared({"a": ("b",), "b": ()})
    for gap_s, count in ((599, 1), (601, 2)):
        assert len(parts([group("a"), group("b", gap_s)], services, 600)) == count


def test_the_cause_shows_in_the_deepest_service_and_in_a_circle_where_it_began() -> None:
    tree = declared({"a": ("b", "c"), "b": (), "c": ()})
    found = deepest([group("a"), group("b", 9), group("c", 5, Severity.SEV2)], tree)
    assert found.service.endswith("/b")  # the worst of the two at the bottom
    circle = declared({"a": ("b",), "b": ("a",)})
    assert deepest([group("a", 3), group("b", 1)], circle).service.endswith("/b")


def test_labels_place_an_alert_whose_service_nobody_named() -> None:
    services = declared({"db": ()})
    for labels, expected in (
        ({"service_name": "db"}, (f"{PLACE}/db", "labels")),
        ({"job": "prod/db"}, (f"{PLACE}/db", "labels")),
        ({"job": "node", "alertname": "Disk"}, (f"{PLACE}/-", "job=node")),
        ({"cluster": "x", "alertname": "Disk"}, (f"{PLACE}/-", "cluster=x,alertname=Disk")),
        ({}, (f"{PLACE}/-", "alertmanager:1")),
    ):
        assert place(alert("alertmanager:1", 0, **labels), services) == expected


def test_a_hostile_label_cannot_leave_its_place_or_grow() -> None:
    _, name = place(alert("alertmanager:1", 0, job="../" * 500), {})
    assert "/" not in name
    assert len(name) < 130


def test_alerts_that_ended_before_the_trouble_are_not_counted() -> None:
    old, new = alert("old", 0, ended_s=10), alert("new", 100)
    made = summed_up((f"{PLACE}/-", "x"), [old, new], None, None)
    assert made is not None
    assert (made.count, made.firing, made.onset_at) == (1, 1, new.started_at)
    assert summed_up((f"{PLACE}/-", "x"), [old], None, None) is None
