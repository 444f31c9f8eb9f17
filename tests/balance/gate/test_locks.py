"""Locks on a store: who may be told what, and what the gate makes of them."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest
from tests.balance.gate.test_controller import KEY, NOW, SHOP, record, world

from poise.adapters.memory import MemoryStore
from poise.balance.gate.controller import check
from poise.balance.gate.locks import lift_lock, place_lock
from poise.model.balance import Verdict, VerdictKind
from poise.model.delivery import ChangeClass
from poise.model.errors import Conflict, Invalid, NotFound, PoiseError
from poise.model.lock import Lock

HOUR_S = 3600.0
LATER = NOW + timedelta(minutes=1)


async def place(store: MemoryStore, where: str, **asked: object) -> None:
    fields = {"by": "ada", "reason": "a move", "for_s": HOUR_S, "now": NOW} | asked
    await record(store, await place_lock(store, place=where, **fields))  # type: ignore[arg-type]


async def verdict(store: MemoryStore, kind: ChangeClass = ChangeClass.FIX) -> Verdict:
    return await check(store, SHOP.key, kind, None, LATER, signing_key=KEY)


@pytest.mark.parametrize("where", ["acme/production", SHOP.key])
def test_what_is_locked_waits_until_it_is_unlocked(where: str) -> None:
    """By anybody who may; the record keeps who placed it and who lifted it."""

    async def scene() -> None:
        store = await world()
        await place(store, where)
        assert (await verdict(store)).reasons[0].rule == "lock"
        assert (await verdict(store, ChangeClass.ROLLBACK)).kind is VerdictKind.GO
        await record(store, await lift_lock(store, place=where, by="bob", reason="done", now=LATER))
        assert (await verdict(store)).kind is VerdictKind.GO
        kept, _ = await store.get(Lock, where)
        assert kept is not None and (kept.by, kept.lifted_by, kept.reason) == ("ada", "bob", "a move")
        told = [row.event.summary for row in await store.journal()]
        assert told[-2:] == [
            f"ada locked {where} until 2026-11-20 13:00 UTC: a move",
            f"bob lifts the lock of ada on {where}: done",
        ]

    anyio.run(scene)


def test_a_second_lock_is_refused_with_the_first_and_its_end() -> None:
    """Else the second could end before the first that it hides."""

    async def scene() -> None:
        store = await world()
        await place(store, SHOP.key)
        with pytest.raises(Conflict) as caught:
            await place(store, SHOP.key, by="bob", now=LATER)
        assert "ada locked" in caught.value.why and f"poise unlock {SHOP.key}" in caught.value.mend
        await place(store, SHOP.key, by="bob", now=NOW + timedelta(seconds=HOUR_S))
        await place(store, "acme/production")

    anyio.run(scene)


@pytest.mark.parametrize(
    ("where", "asked", "error", "code"),
    [
        (SHOP.key, {"reason": "  "}, Invalid, "POISE-B402"),
        (SHOP.key, {"for_s": 0.0}, Invalid, "POISE-B411"),
        (SHOP.key, {"for_s": 31 * 86_400.0}, Invalid, "POISE-B411"),
        ("acme/production/shpo", {}, NotFound, "POISE-B401"),
        ("acme/moon", {}, NotFound, "POISE-B401"),
    ],
)
def test_a_lock_without_a_reason_an_end_or_a_place_is_refused(
    where: str, asked: dict[str, object], error: type[PoiseError], code: str
) -> None:
    """Nobody would know why they wait, or it would hold nothing."""

    async def scene() -> None:
        with pytest.raises(error) as caught:
            await place(await world(), where, **asked)
        assert caught.value.code == code

    anyio.run(scene)


def test_what_is_not_locked_cannot_be_unlocked() -> None:
    """A typing error must not look like a success."""

    async def scene() -> None:
        with pytest.raises(NotFound):
            await lift_lock(await world(), place=SHOP.key, by="ada", reason="", now=NOW)

    anyio.run(scene)
