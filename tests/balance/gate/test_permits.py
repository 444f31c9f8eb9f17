"""Overrides, approvals, exemptions and rulings: one asks, another decides, nobody for themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from msgspec import Struct, structs

from poise.adapters.memory import MemoryStore
from poise.balance.gate.controller import check, standing_of
from poise.balance.gate.permits import approve_override, ask_grant, decide_grant, make_override
from poise.model.access import Principal, Role
from poise.model.balance import Budget, Override, Verdict, VerdictKind
from poise.model.delivery import Change, ChangeClass, Rollout, RolloutState
from poise.model.errors import Conflict, Forbidden, Invalid, NotFound
from poise.model.grant import Cause, Grant, GrantKind
from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import DAY_S, BudgetPolicy
from poise.model.record import Decision, Write
from poise.model.service import Project, Service
from poise.ports.store import Transaction

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = b"installation"
SHOP = Service(project="acme", environment="production", name="shop", command="run", port=8000)
OBJECTIVE = Objective(
    service=SHOP.key, name="availability", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.999
)
HELD, WENT, SLOWLY = VerdictKind.HOLD, VerdictKind.GO, VerdictKind.SLOW


def budget(left: float) -> Budget:
    return Budget(
        service=SHOP.key, objective="availability", target_ratio=0.999, window_s=28 * DAY_S, good=1e6,
        bad=1000 * (1 - left), allowed=1000.0, left_ratio=left, burns=(), coverage_ratio=1.0,
        bootstrap=False, since=NOW - timedelta(days=30), measured_at=NOW, at=NOW,
    )  # fmt: skip


LIVE = Rollout(
    project="acme", environment="production", service="shop", n=1, release=1, digest="d1", revision="r1",
    commit="c1", summary="s", change_class=ChangeClass.FEATURE, spec=SHOP, state=RolloutState.LIVE,
    created_at=NOW,
)  # fmt: skip
CHANGE = Change(
    project="acme", commit="c2", branch="main", summary="s", author="ada", committed_at=NOW, pushed_by="ada",
    pushed_at=NOW, change_class=ChangeClass.FEATURE,
)  # fmt: skip


class House:
    """A project with a spent budget and some people."""

    def __init__(self, *people: str, left: float = -0.5, policy: BudgetPolicy | None = None) -> None:
        self.store, self.people, self.left = MemoryStore(), people, left
        self.policy = policy or BudgetPolicy()

    async def __aenter__(self) -> House:
        waiting = structs.replace(LIVE, n=2, digest="d2", commit="c2", state=RolloutState.WAITING)
        await self.put("acme", Project(name="acme", policy=self.policy))
        for body in (SHOP, OBJECTIVE, budget(self.left), LIVE, waiting, CHANGE):
            await self.put(body.key, body)
        for name in self.people:
            await self.put(name, Principal(name=name, roles={"acme": Role.OPERATOR}))
        await self.put("cto", Principal(name="cto", roles={"acme": Role.VIEWER}))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()

    async def put(self, key: str, body: Struct) -> None:
        await self.store.commit(
            Transaction(at=NOW, writes=[Write(kind=type(body).__name__, key=key, body=body)])
        )

    async def keep(self, decision: Decision) -> Any:
        await self.store.commit(
            Transaction(at=NOW, reads=decision.reads, writes=decision.writes, events=decision.events)
        )
        return decision.writes[0].body

    async def override(self, by: str, **more: Any) -> Override:
        asked: dict[str, Any] = {"reason": "the fair", "for_s": 3600.0} | more
        made = await make_override(self.store, signing_key=KEY, service_key=SHOP.key, by=by, now=NOW, **asked)
        found = await self.keep(made)
        assert isinstance(found, Override)
        return found

    async def approve(self, n: int, by: str, at: datetime = NOW) -> Any:
        return await self.keep(
            await approve_override(self.store, signing_key=KEY, service_key=SHOP.key, n=n, by=by, now=at)
        )

    async def ask(self, kind: GrantKind, by: str, **more: Any) -> Grant:
        asked: dict[str, Any] = {"reason": "the fair", "for_s": 3600.0} | more
        made = await ask_grant(
            self.store, signing_key=KEY, service_key=SHOP.key, kind=kind, by=by, now=NOW, **asked
        )
        found = await self.keep(made)
        assert isinstance(found, Grant)
        return found

    async def decide(self, n: int, by: str, *, allowed: bool = True) -> Any:
        return await self.keep(
            await decide_grant(
                self.store, signing_key=KEY, service_key=SHOP.key, n=n, by=by, allowed=allowed,
                reason="agreed", now=NOW,
            )
        )  # fmt: skip

    async def verdict(self, digest: str = "d2", key: bytes = KEY) -> Verdict:
        return await check(self.store, SHOP.key, ChangeClass.FEATURE, digest, NOW, signing_key=key)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    anyio.run(scene)


def test_an_override_waits_for_a_second_operator_where_there_is_one() -> None:
    """One tired person at night must not be enough to pass the gate."""

    async def scene() -> None:
        async with House("ada", "bob") as house:
            asked = await house.override("ada")
            held = await house.verdict()
            assert not asked.is_approved and held.kind is HELD
            assert held.reasons[-1].rule == "override-pending"
            with pytest.raises(Forbidden, match="cannot approve it"):
                await house.approve(1, "ada")
            await house.approve(1, "bob")
            went = await house.verdict()
            assert went.kind is WENT and "approved by bob" in went.reasons[0].text
            assert (await house.verdict(key=b"other")).kind is HELD
            with pytest.raises(Conflict, match="in force already"):
                await house.approve(1, "bob")
            with pytest.raises(NotFound):
                await house.approve(9, "bob")

    play(scene)


def test_the_only_operator_is_enough_and_the_verdict_says_so() -> None:
    """A team of one has no second person; the record shows it."""

    async def scene() -> None:
        async with House("ada") as house:
            assert (await house.override("ada")).alone
            verdict = await house.verdict()
            assert verdict.kind is WENT and "nobody else could approve it" in verdict.sentence

    play(scene)


def test_an_override_that_has_expired_is_approved_by_nobody() -> None:
    """A wish of yesterday is no wish of today."""

    async def scene() -> None:
        async with House("ada", "bob") as house:
            await house.override("ada")
            with pytest.raises(Conflict, match="has expired"):
                await house.approve(1, "bob", NOW + timedelta(hours=2))

    play(scene)


@pytest.mark.parametrize("for_s", [0.0, -1.0, 86_401.0])
def test_an_override_lives_for_a_day_at_most_and_has_a_reason(for_s: float) -> None:
    """What lasts longer is a policy, and is written as one."""

    async def scene() -> None:
        async with House("ada") as house:
            with pytest.raises(Invalid, match="not allowed"):
                await house.override("ada", for_s=for_s)
            with pytest.raises(Invalid, match="needs a reason"):
                await house.override("ada", reason="  ")

    play(scene)


def test_an_approval_of_what_another_pushed_is_in_force_at_once() -> None:
    """The push was the first person's word, the approval is the second's."""

    async def scene() -> None:
        async with House("ada", "bob", left=0.05) as house:
            assert (await house.verdict()).reasons[0].rule == "approval"
            own = await house.ask(GrantKind.APPROVAL, "ada", digest="d2")
            assert own.allowed is None and (await house.verdict()).kind is HELD
            given = await house.ask(GrantKind.APPROVAL, "bob", digest="d2")
            assert given.allowed is True and (await house.verdict()).kind is SLOWLY
            assert (await house.verdict("d3")).kind is HELD

    play(scene)


def test_who_pushed_a_change_does_not_approve_it_on_anothers_wish() -> None:
    """Else a friend's wish would make one person two."""

    async def scene() -> None:
        async with House("ada", "bob", left=0.05) as house:
            wish = await house.ask(GrantKind.APPROVAL, "cto", digest="d2")
            with pytest.raises(Forbidden, match="whoever pushed a change cannot approve it: ada did"):
                await house.decide(wish.n, "ada")
            await house.decide(wish.n, "ada", allowed=False)
            again = await house.ask(GrantKind.APPROVAL, "cto", digest="d2")
            assert (await house.decide(again.n, "bob")).allowed is True

    play(scene)


def test_who_may_not_decide_gets_no_approval_by_asking() -> None:
    """A viewer's wish is a wish."""

    async def scene() -> None:
        async with House("ada", left=0.05) as house:
            wish = await house.ask(GrantKind.APPROVAL, "cto", digest="d2")
            assert wish.allowed is None and (await house.verdict()).kind is HELD
            with pytest.raises(Forbidden):
                await house.decide(wish.n, "eve")
            await house.decide(wish.n, "ada")
            assert (await house.verdict()).kind is SLOWLY

    play(scene)


def test_an_exemption_names_a_cause_and_is_agreed_by_another() -> None:
    """SRE workbook, appendix B: elsewhere's fault is no reason to stop, but somebody else must see it so."""

    async def scene() -> None:
        async with House("ada", "bob") as house:
            with pytest.raises(Invalid, match="names its cause"):
                await house.ask(GrantKind.EXEMPTION, "ada")
            await house.ask(GrantKind.EXEMPTION, "ada", cause=Cause.NETWORK)
            assert (await house.verdict()).kind is HELD
            await house.decide(1, "bob")
            verdict = await house.verdict()
            assert verdict.kind is SLOWLY and verdict.reasons[0].rule == "exemption"

    play(scene)


def test_a_refused_wish_grants_nothing_and_is_not_decided_twice() -> None:
    """No is an answer."""

    async def scene() -> None:
        async with House("ada", "bob") as house:
            await house.ask(GrantKind.EXEMPTION, "ada", cause=Cause.NETWORK)
            await house.decide(1, "bob", allowed=False)
            assert (await house.verdict()).kind is HELD
            with pytest.raises(Conflict, match="decided already"):
                await house.decide(1, "bob")

    play(scene)


def test_only_those_whom_the_policy_names_rule_over_a_disagreement() -> None:
    """SRE workbook, appendix B: it is escalated, here to the CTO, who need be no operator."""

    async def scene() -> None:
        async with House("ada", "bob", policy=BudgetPolicy(escalate_to=("cto",))) as house:
            await house.ask(GrantKind.RULING, "ada")
            with pytest.raises(Forbidden, match="may not decide"):
                await house.decide(1, "bob")
            await house.decide(1, "cto")
            verdict = await house.verdict()
            assert verdict.kind is SLOWLY and "cto ruled" in verdict.sentence

    play(scene)


def test_an_edited_grant_counts_nothing() -> None:
    """Who can write to the database is not thereby an operator."""

    async def scene() -> None:
        async with House("ada", "bob", left=0.05) as house:
            wish = await house.ask(GrantKind.APPROVAL, "ada", digest="d2")
            forged = structs.replace(wish, allowed=True, decided_by="bob", decided_at=NOW)
            await house.put(forged.key, forged)
            assert (await house.verdict()).kind is HELD

    play(scene)


def test_the_standing_shows_policy_level_and_what_is_pending() -> None:
    """One answer for a page and for ``poise policy explain``."""

    async def scene() -> None:
        async with House("ada", "bob") as house:
            await house.override("ada")
            await house.ask(GrantKind.EXEMPTION, "ada", cause=Cause.NETWORK)
            standing = await standing_of(house.store, SHOP.key, NOW, signing_key=KEY)
            assert (standing.level.value, standing.kind) == ("freeze", HELD)
            assert [one.n for one in standing.overrides] == [one.n for one in standing.grants] == [1]
            assert standing.standings[0].rule == "spent"

    play(scene)
