"""What is announced is a CDEvent to the letter; a dead sink is nobody else's trouble."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import jsonschema_rs
import pytest

from poise.adapters.memory import MemoryStore
from poise.delivery.announce.controller import AnnounceController, digest_of
from poise.delivery.announce.decide import WINDOW, intent_key
from poise.delivery.announce.deeds import Announcer
from poise.delivery.announce.shape import ANNOUNCED, Facts, artifact_id, cloud_event
from poise.engine.controller import Again, Dropped
from poise.model import event_types as types
from poise.model.acts import SendEvent
from poise.model.errors import Invalid, Unreachable
from poise.model.exchange import Announcement
from poise.model.incident import Incident, Severity
from poise.model.record import GENESIS_HASH, Event, Recorded, Write
from poise.model.service import Project
from poise.ports.store import IntentState, Transaction

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMAS = Path(__file__).parents[2] / "cdevents" / "schemas"
FACTS = Facts(installation="i1", base_url="http://127.0.0.1:8700")
ROLLOUT = {"service": "shop/production/web", "release": 3, "digest": "sha256:ab", "commit": "c" * 40}
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    types.CHANGE_CREATED: ("shop/" + "c" * 40, {"commit": "c" * 40, "branch": "x"}),
    types.CHANGE_MERGED: ("shop/" + "c" * 40, {"commit": "c" * 40, "branch": "main"}),
    types.RUN_QUEUED: ("shop/000001", {"commit": "c" * 40}),
    types.RUN_STARTED: ("shop/000001", {"commit": "c" * 40}),
    types.RUN_FINISHED: ("shop/000001", {"state": "error", "problem": "no such job"}),
    types.JOB_STARTED: ("shop/000001", {"job": "test", "state": "running"}),
    types.JOB_FINISHED: ("shop/000001", {"job": "test", "state": "timeout"}),
    types.ARTIFACT_PACKAGED: ("shop/web/000003", {"digest": "sha256:ab", "commit": "c" * 40, "run": 1}),
    types.SERVICE_DEPLOYED: ("shop/production/web/000001", ROLLOUT),
    types.SERVICE_UPGRADED: ("shop/production/web/000001", {**ROLLOUT, "verdict": "x", "e_value": 1.5}),
    types.SERVICE_ROLLED_BACK: ("shop/production/web/000001", {**ROLLOUT, "kept": 1}),
    types.SERVICE_REMOVED: ("shop/production/web", {}),
    types.INCIDENT_DETECTED: ("shop/000001", {}),
    types.INCIDENT_RESOLVED: ("shop/000001", {}),
}


def row(kind: str, subject: str, data: dict[str, Any], sequence: int = 7) -> Recorded:
    event = Event(type=kind, subject=subject, summary="<b>it</b> happened", data=data)
    return Recorded(sequence=sequence, at=NOW, event=event, previous_hash=GENESIS_HASH, hash=GENESIS_HASH)


def schema_of(kind: str) -> Any:
    """The official schema of a type, with the links' schemas that it refers to by relative names."""
    name = "".join(kind.split(".")[2:4])
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    links = [json.loads(path.read_text()) for path in sorted((SCHEMAS / "links").glob("*.json"))]
    registry = jsonschema_rs.Registry([(one["$id"], one) for one in links])
    schema["$id"] = "https://cdevents.dev/0.5.1/schema/" + name
    return jsonschema_rs.validator_for(schema, registry=registry, validate_formats=True)


def test_there_is_an_example_of_every_announced_type() -> None:
    """And every CDEvents type that this version records is announced."""
    recorded = {value for value in vars(types).values() if str(value).startswith("dev.cdevents.")}
    assert set(EXAMPLES) == set(ANNOUNCED) == recorded


@pytest.mark.parametrize("kind", ANNOUNCED)
@pytest.mark.parametrize("facts", [FACTS, Facts(installation="i1", base_url="http://x", workflow="ci",
    environment="production", service="shop/production/web", digest="sha256:cd")])  # fmt: skip
def test_what_is_announced_conforms_to_the_official_schema(kind: str, facts: Facts) -> None:
    subject, data = EXAMPLES[kind]
    made = cloud_event(row(kind, subject, data), facts)
    schema_of(kind).validate(made["data"])
    context = made["data"]["context"]
    for ours, theirs in (("id", "id"), ("source", "source"), ("type", "type"), ("time", "timestamp")):
        assert made[ours] == context[theirs]
    assert (made["specversion"], made["subject"]) == ("1.0", made["data"]["subject"]["id"])


def test_the_schemas_would_find_a_fault() -> None:
    made = cloud_event(row(types.SERVICE_DEPLOYED, *EXAMPLES[types.SERVICE_DEPLOYED]), FACTS)["data"]
    del made["subject"]["content"]["artifactId"]
    with pytest.raises(jsonschema_rs.ValidationError):
        schema_of(types.SERVICE_DEPLOYED).validate(made)


def test_ids_are_stable_and_a_chain_joins_what_comes_of_a_commit() -> None:
    deployed = row(types.SERVICE_DEPLOYED, *EXAMPLES[types.SERVICE_DEPLOYED])
    merged = row(types.CHANGE_MERGED, *EXAMPLES[types.CHANGE_MERGED], sequence=3)
    made = [cloud_event(one, FACTS) for one in (deployed, deployed, merged)]
    assert made[0] == made[1]
    assert [one["id"] for one in made] == ["i1-7", "i1-7", "i1-3"]
    chains = {one["data"]["context"]["chainId"] for one in made}
    assert len(chains) == 1
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", chains.pop())
    assert artifact_id("web", "sha256:ab") == "pkg:generic/web@sha256%3Aab"


class Sinks:
    """Sinks that take, refuse or are down, by URL."""

    def __init__(self, down: Sequence[str] = (), refusing: Sequence[str] = ()) -> None:
        self.down, self.refusing = set(down), set(refusing)
        self.took: list[tuple[str, str]] = []
        self.tried = 0

    async def send(self, project: str, url: str, event: dict[str, Any]) -> str:
        self.tried += 1
        if url in self.down:
            raise Unreachable("POISE-E720", "down")
        if url in self.refusing:
            raise Invalid("POISE-E722", "no")
        self.took.append((url, event["id"]))
        return "took it"


class World:
    """The room on a store in memory, its outbox worked off by hand."""

    def __init__(self, *urls: str, sinks: Sinks | None = None) -> None:
        self.store, self.sinks, self.now = MemoryStore(), sinks or Sinks(), NOW
        self.controller = AnnounceController(self.store)
        self.announcer = Announcer(self.store, self.sinks, "i1", "http://x", lambda _: None)
        self.urls = urls

    async def declare(self, *urls: str) -> None:
        project = Project(name="shop", sinks=urls)
        await self.store.commit(
            Transaction(at=self.now, writes=[Write(kind="Project", key="shop", body=project)])
        )

    async def happen(self, count: int, project: str = "shop", **data: Any) -> None:
        events = [
            Event(type=types.CHANGE_MERGED, subject=f"{project}/{n}", summary="x", data=data)
            for n in range(count)
        ]
        await self.store.commit(Transaction(at=self.now, events=events))

    async def turn(self) -> None:
        decision = await self.controller.look("shop", self.now)
        if not decision.is_empty:
            await self.store.commit(
                Transaction(
                    at=self.now, reads=decision.reads, writes=decision.writes, intents=decision.intents
                )
            )
        for stored in await self.store.pending(self.now, 1000):
            key = stored.intent.key
            try:
                said = await self.announcer.perform(stored.intent.act, key, 1, self.now)
                await self.store.settle(key, IntentState.DONE, said)
            except Again as again:
                later = self.now + timedelta(seconds=again.delay_s)
                await self.store.settle(key, IntentState.PENDING, str(again), retry_at=later)
            except Dropped as dropped:
                await self.store.settle(key, IntentState.DROPPED, str(dropped))
        self.now += timedelta(seconds=10)

    async def pending(self) -> int:
        return len(await self.store.pending(self.now + timedelta(days=9), 10_000))


def test_every_event_reaches_every_sink_once_and_in_order() -> None:
    async def story() -> None:
        world = World()
        await world.declare("http://a", "http://b")
        await world.happen(5)  # before anybody listened
        await world.turn()
        await world.happen(40)
        await world.happen(3, project="shop2")
        await world.happen(3, external=True)
        for _ in range(8):
            await world.turn()
        for url in ("http://a", "http://b"):
            took = [int(name.rpartition("-")[2]) for at, name in world.sinks.took if at == url]
            assert took == list(range(6, 46))
        assert await world.pending() == 0

    anyio.run(story)


def test_a_dead_sink_costs_a_cursor_and_is_caught_up_when_it_is_back() -> None:
    async def story() -> None:
        world = World(sinks=Sinks(down=["http://dead"]))
        await world.declare("http://dead", "http://a")
        await world.turn()
        for _ in range(30):
            await world.happen(20)
            await world.turn()
            assert await world.pending() <= 2 * WINDOW
        tried = world.sinks.tried - len(world.sinks.took)
        assert tried < 30  # left alone by all of its events at once
        for _ in range(10):
            await world.turn()
        assert len([one for one in world.sinks.took if one[0] == "http://a"]) >= 600
        world.sinks.down.clear()
        for _ in range(120):
            await world.turn()
        assert len([one for one in world.sinks.took if one[0] == "http://dead"]) == 600

    anyio.run(story)


def test_what_a_sink_never_takes_is_given_up_and_a_sink_no_longer_named_is_forgotten() -> None:
    async def story() -> None:
        world = World(sinks=Sinks(down=["http://dead"], refusing=["http://no"]))
        await world.declare("http://dead", "http://no")
        await world.turn()
        await world.happen(3)
        await world.turn()
        refused = await world.store.intent(intent_key("shop", digest_of("http://no"), 1))
        assert refused is not None
        assert refused.state is IntentState.DROPPED
        world.now += timedelta(days=2)
        await world.turn()
        assert await world.pending() == 0
        await world.happen(3)
        await world.turn()
        await world.declare()
        await world.turn()
        world.now += timedelta(days=2)
        await world.turn()
        assert await world.pending() == 0
        assert (await world.store.scan(Announcement))[0] == []

    anyio.run(story)


def test_an_incident_is_told_with_where_it_is() -> None:
    async def story() -> None:
        world = World()
        incident = Incident(
            project="shop", environment="staging", n=1, title="t", severity=Severity.SEV1,
            service="shop/staging/web", services=("shop/staging/web",), onset_at=NOW, opened_at=NOW,
        )  # fmt: skip
        await world.declare("http://a")
        event = Event(type=types.INCIDENT_DETECTED, subject=incident.key, summary="it burns")
        await world.store.commit(
            Transaction(
                at=NOW, events=[event], writes=[Write(kind="Incident", key=incident.key, body=incident)]
            )
        )
        sent: list[dict[str, Any]] = []

        async def keep(project: str, url: str, made: dict[str, Any]) -> str:
            sent.append(made)
            return "kept"

        world.sinks.send = keep  # type: ignore[method-assign]
        await world.announcer.perform(SendEvent(sequence=1, sink="http://a", project="shop"), "k", 1, NOW)
        content = sent[0]["data"]["subject"]["content"]
        assert (content["environment"]["id"], content["service"]["id"]) == ("staging", "shop/staging/web")
        schema_of(types.INCIDENT_DETECTED).validate(sent[0]["data"])

    anyio.run(story)
