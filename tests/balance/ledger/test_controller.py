"""The ledger on a store: an episode, a rollout before it, and what is written."""

from __future__ import annotations

from datetime import timedelta

import anyio
from msgspec import Struct, structs
from tests.balance.ledger.test_decide import KEY, NOW, SHOP, ago, episode, incident, outlook, rollout

from poise.adapters.memory import MemoryStore
from poise.balance.ledger.controller import LedgerController
from poise.model.event_types import BUDGET_CHARGED
from poise.model.objective import IndicatorKind, Objective
from poise.model.record import Ref, Write
from poise.model.service import Service
from poise.model.spend import SpendCause, SpendLedger
from poise.ports.store import Transaction

OBJECTIVE = Objective(
    service=SHOP, name="availability", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.999
)
SERVICE = Service(project="acme", environment="production", name="shop", command="run", depends_on=("pay",))


async def put(store: MemoryStore, *bodies: Struct) -> None:
    writes = [Write(kind=type(one).__name__, key=one.key, body=one) for one in bodies]  # type: ignore[attr-defined]
    await store.commit(Transaction(at=NOW, writes=writes))


def test_the_store_is_enough_to_charge_a_release() -> None:
    """Wings meet in the store: delivery wrote the rollout, the watch the episode."""

    async def story() -> None:
        store = MemoryStore()
        await put(store, OBJECTIVE, SERVICE, outlook(episode(60, 30)), rollout(43, 62), incident(500))
        controller = LedgerController(store)
        assert list(await controller.keys()) == [KEY]
        decision = await controller.look(KEY, NOW)
        body = decision.writes[0].body
        assert isinstance(body, SpendLedger)
        assert (body.entries[0].cause, body.usual_bad) == (SpendCause.DEPLOY, 690.0)
        assert [event.type for event in decision.events] == [BUDGET_CHARGED]
        await put(store, body)
        assert (await controller.look(KEY, NOW + timedelta(minutes=1))).is_empty

    anyio.run(story)


def test_what_a_dependency_spent_at_the_same_time_is_its_own() -> None:
    """Its ledger is read; nobody of ours is blamed."""

    async def story() -> None:
        store = MemoryStore()
        pay = await _spent_by_pay()
        await put(store, OBJECTIVE, SERVICE, outlook(episode(60, 30)), rollout(43, 300), pay)
        decision = await LedgerController(store).look(KEY, NOW)
        body = decision.writes[0].body
        assert isinstance(body, SpendLedger)
        assert body.entries[0].subject == "acme/production/pay"

    async def _spent_by_pay() -> SpendLedger:
        store = MemoryStore()
        theirs = Objective(
            service="acme/production/pay", name="availability", indicator=IndicatorKind.AVAILABILITY,
            target_ratio=0.999,
        )  # fmt: skip
        told = outlook(episode(60, 30))
        await put(store, theirs, structs.replace(told, service=theirs.service))
        body = (await LedgerController(store).look(theirs.key, ago(0))).writes[0].body
        assert isinstance(body, SpendLedger)
        return body

    anyio.run(story)


def test_a_ledger_goes_with_its_objective() -> None:
    """Nothing stands for what is no longer declared."""

    async def story() -> None:
        store = MemoryStore()
        await put(store, OBJECTIVE, outlook(episode(60, 30)))
        controller = LedgerController(store)
        await put(store, (await controller.look(KEY, NOW)).writes[0].body)  # type: ignore[arg-type]
        await store.commit(Transaction(at=NOW, writes=[Write(kind="Objective", key=KEY, body=None)]))
        assert [write.body for write in (await controller.look(KEY, NOW)).writes] == [None]
        assert controller.wakes(Ref("Outlook", KEY, 1)) == KEY

    anyio.run(story)
