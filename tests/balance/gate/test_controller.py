"""The gate on a store: one immutable answer per ask, the same for whoever asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from msgspec import Struct, structs

from poise.adapters.memory import MemoryStore
from poise.balance.gate.controller import GateController, check
from poise.balance.gate.decide import replay
from poise.balance.gate.permits import ask_grant, make_override
from poise.model.access import Principal, Role
from poise.model.balance import Budget, Override, Verdict, VerdictKind, verdict_key
from poise.model.delivery import Ask, Change, ChangeClass, Release, Rollout, RolloutState
from poise.model.errors import Invalid, NotFound
from poise.model.grant import GrantKind
from poise.model.incident import Incident, IncidentState, Severity
from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import DAY_S
from poise.model.record import Decision, Ref, Write
from poise.model.review import Action, ActionKind, Review
from poise.model.service import Approvals, FreezeWindow, Project, Service
from poise.ports.store import Stale, Transaction

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = b"installation"
SHOP = Service(project="acme", environment="production", name="shop", command="run", port=8000)
OBJECTIVE = Objective(
    service=SHOP.key, name="availability", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.999
)


def budget(left: float) -> Budget:
    return Budget(
        service=SHOP.key, objective="availability", target_ratio=0.999, window_s=28 * DAY_S,
        good=1e6, bad=1000 * (1 - left), allowed=1000.0, left_ratio=left, burns=(), coverage_ratio=1.0,
        bootstrap=False, since=NOW - timedelta(days=30), measured_at=NOW, at=NOW,
    )  # fmt: skip


def rollout(n: int, state: RolloutState, kind: ChangeClass = ChangeClass.FEATURE) -> Rollout:
    asks = None if state is RolloutState.LIVE else Ask(n=1, step=0, digest="d2", weight_percent=5, at=NOW)
    return Rollout(
        project="acme", environment="production", service="shop", n=n, release=n, digest=f"d{n}",
        revision=f"r{n}", commit="c", summary="s", change_class=kind, spec=SHOP, state=state, ask=asks,
        created_at=NOW,
    )  # fmt: skip


async def put(store: MemoryStore, *bodies: Struct) -> None:
    writes = [Write(kind=type(body).__name__, key=getattr(body, "key", "acme"), body=body) for body in bodies]
    await store.commit(Transaction(at=NOW, writes=writes))


async def record(store: MemoryStore, decision: Decision) -> None:
    await store.commit(
        Transaction(at=NOW, reads=decision.reads, writes=decision.writes, events=decision.events)
    )


async def world(left: float = 0.9, *, live: bool = True) -> MemoryStore:
    store = MemoryStore()
    await put(store, Project(name="acme"), SHOP, OBJECTIVE, budget(left))
    if live:
        await put(store, rollout(1, RolloutState.LIVE))
    return store


def play(scene: Callable[[], Awaitable[None]]) -> None:
    anyio.run(scene)


def test_an_ask_is_answered_once_and_never_again() -> None:
    async def scene() -> None:
        store = await world()
        asking = rollout(2, RolloutState.STARTING)
        await put(store, asking)
        gate = GateController(store, KEY)
        assert await gate.keys() == [asking.key]
        assert gate.wakes(Ref("Rollout", asking.key, 1)) == asking.key
        await record(store, await gate.look(asking.key, NOW))
        verdict, ref = await store.get(Verdict, verdict_key(asking.key, 1))
        assert verdict is not None and (verdict.kind, verdict.digest) == (VerdictKind.GO, "d2")
        await put(store, budget(-1.0))
        assert (await gate.look(asking.key, NOW + timedelta(seconds=5))).is_empty
        assert (await store.get(Verdict, verdict_key(asking.key, 1)))[1] == ref
        (answered,) = await store.journal(types=["dev.poise.gate.answered"])
        assert answered.event.subject == asking.key

    play(scene)


def test_what_changes_while_deciding_stops_the_verdict() -> None:
    """An override, a budget or a freeze written in between must be seen."""

    async def scene() -> None:
        store = await world(0.0)
        asking = rollout(2, RolloutState.STARTING)
        await put(store, asking)
        decision = await GateController(store, KEY).look(asking.key, NOW)
        await put(store, budget(0.9))
        with pytest.raises(Stale):
            await record(store, decision)

    play(scene)


def test_a_rollout_that_asks_nothing_gets_no_answer() -> None:
    async def scene() -> None:
        store = await world()
        gate = GateController(store, KEY)
        assert (await gate.look(rollout(1, RolloutState.LIVE).key, NOW)).is_empty
        assert (await gate.look("acme/production/shop/000099", NOW)).is_empty

    play(scene)


def test_a_first_release_is_one_with_nothing_live_beside_it() -> None:
    async def scene() -> None:
        store = await world(-1.0, live=False)
        asking = rollout(1, RolloutState.STARTING)
        await put(store, asking)
        decision = await GateController(store, KEY).look(asking.key, NOW)
        verdict = decision.writes[0].body
        assert isinstance(verdict, Verdict) and "go (bootstrap)" in verdict.sentence
        await put(store, rollout(2, RolloutState.LIVE))
        verdict = (await GateController(store, KEY).look(asking.key, NOW)).writes[0].body
        assert isinstance(verdict, Verdict) and verdict.kind is VerdictKind.HOLD

    play(scene)


def test_check_says_what_the_actuator_would_be_told_and_writes_nothing() -> None:
    async def scene() -> None:
        store = await world(-1.0)
        before = len(await store.journal())
        held = await check(store, SHOP.key, ChangeClass.FEATURE, None, NOW, signing_key=KEY)
        repair = await check(store, SHOP.key, ChangeClass.FIX, "d2", NOW, signing_key=KEY)
        assert (held.kind, repair.kind) == (VerdictKind.HOLD, VerdictKind.GO)
        assert replay(held.inputs) == held
        assert len(await store.journal()) == before
        with pytest.raises(NotFound, match="POISE-B401"):
            await check(store, "acme/production/nope", ChangeClass.FIX, None, NOW, signing_key=KEY)

    play(scene)


async def overridden(store: MemoryStore, reason: str = "the fair opens", for_s: float = 3600.0) -> Override:
    decision = await make_override(
        store, signing_key=KEY, service_key=SHOP.key, by="ada", reason=reason, for_s=for_s, now=NOW
    )
    await record(store, decision)
    body = decision.writes[0].body
    assert isinstance(body, Override)
    return body


def test_an_override_is_signed_counted_and_ends() -> None:
    async def scene() -> None:
        store = await world(-1.0)
        assert [(await overridden(store)).n for _ in range(2)] == [1, 2]
        verdict = await check(store, SHOP.key, ChangeClass.FEATURE, None, NOW, signing_key=KEY)
        assert (verdict.kind, verdict.override) == (VerdictKind.GO, 2)
        later = NOW + timedelta(seconds=3600)
        after = await check(store, SHOP.key, ChangeClass.FEATURE, None, later, signing_key=KEY)
        assert after.kind is VerdictKind.HOLD
        events = await store.journal(types=["dev.poise.override.created"])
        assert [event.event.actor for event in events] == ["ada", "ada"]

    play(scene)


def test_an_override_that_was_edited_in_the_store_grants_nothing() -> None:
    async def scene() -> None:
        store = await world(-1.0)
        forged = structs.replace(await overridden(store), expires_at=NOW + timedelta(days=300))
        await put(store, forged)
        later = NOW + timedelta(hours=2)
        await put(store, structs.replace(budget(-1.0), measured_at=later, at=later))
        verdict = await check(store, SHOP.key, ChangeClass.FEATURE, None, later, signing_key=KEY)
        assert verdict.kind is VerdictKind.HOLD

    play(scene)


@pytest.mark.parametrize(("reason", "for_s"), [("", 60.0), ("  ", 60.0), ("why", 0.0), ("why", 86_401.0)])
def test_an_override_needs_a_reason_and_an_end(reason: str, for_s: float) -> None:
    async def scene() -> None:
        with pytest.raises(Invalid, match=r"POISE-B40[23]"):
            await overridden(await world(), reason, for_s)

    play(scene)


def incident(where: str, state: IncidentState, severity: Severity = Severity.SEV1) -> Incident:
    return Incident(
        project="acme", environment="production", n=1, title="it answers 503", state=state, severity=severity,
        service=where, services=(where,), onset_at=NOW, opened_at=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("where", "state", "severity", "kind"),
    [
        (SHOP.key, IncidentState.OPEN, Severity.SEV1, VerdictKind.HOLD),
        (SHOP.key, IncidentState.ACKNOWLEDGED, Severity.SEV2, VerdictKind.HOLD),
        (SHOP.key, IncidentState.OPEN, Severity.SEV3, VerdictKind.GO),
        (SHOP.key, IncidentState.MITIGATED, Severity.SEV1, VerdictKind.GO),
        (SHOP.key, IncidentState.RESOLVED, Severity.SEV1, VerdictKind.GO),
        (SHOP.key, IncidentState.MERGED, Severity.SEV1, VerdictKind.GO),
        ("acme/production/pay", IncidentState.OPEN, Severity.SEV1, VerdictKind.HOLD),
        ("acme/production/mail", IncidentState.OPEN, Severity.SEV1, VerdictKind.GO),
        ("acme/staging/shop", IncidentState.OPEN, Severity.SEV1, VerdictKind.GO),
    ],
)
def test_an_open_incident_that_pages_holds_what_stands_on_it(
    where: str, state: IncidentState, severity: Severity, kind: VerdictKind
) -> None:
    async def scene() -> None:
        store = await world()
        await put(store, structs.replace(SHOP, depends_on=("pay",)), incident(where, state, severity))
        found = await check(store, SHOP.key, ChangeClass.FEATURE, None, NOW, signing_key=KEY)
        assert found.kind is kind, found.sentence
        assert replay(found.inputs) == found

    play(scene)


def test_an_incident_that_opens_while_deciding_stops_the_verdict() -> None:
    async def scene() -> None:
        store = await world()
        asking = rollout(2, RolloutState.STARTING)
        await put(store, asking)
        decision = await GateController(store, KEY).look(asking.key, NOW)
        await put(store, incident(SHOP.key, IncidentState.OPEN))
        with pytest.raises(Stale):
            await record(store, decision)

    play(scene)


@pytest.mark.parametrize(
    ("service", "overdue_s", "is_done", "kind"),
    [
        (SHOP.key, 1.0, False, VerdictKind.SLOW),
        (SHOP.key, 1.0, True, VerdictKind.GO),
        (SHOP.key, -1.0, False, VerdictKind.GO),
        ("acme/production/pay", 1.0, False, VerdictKind.GO),
    ],
)
def test_an_overdue_action_of_a_review_slows_the_features_of_its_services(
    service: str, overdue_s: float, is_done: bool, kind: VerdictKind
) -> None:
    async def scene() -> None:
        store = await world()
        action = Action(
            n=2, kind=ActionKind.PREVENT, text="refuse EURO", owner="ada", verification="it fails",
            due_at=NOW - timedelta(seconds=overdue_s), done_at=NOW if is_done else None,
        )  # fmt: skip
        review = Review(
            incident="acme/000007",
            title="t",
            text="t",
            services=(service,),
            actions=(action,),
            drafted_at=NOW,
        )
        await put(store, structs.replace(SHOP, depends_on=("pay",)), review)
        found = await check(store, SHOP.key, ChangeClass.FEATURE, None, NOW, signing_key=KEY)
        assert found.kind is kind, found.sentence
        assert ("poise postmortem action done 7 2" in found.sentence) == (kind is VerdictKind.SLOW)

    play(scene)


def test_what_runs_elsewhere_is_never_taken_for_a_first_release() -> None:
    """Poise sees no release of it, so "nothing is live yet" would be a go for ever."""

    async def scene() -> None:
        elsewhere = structs.replace(SHOP, command="", port=None)
        for left, kind in ((0.9, VerdictKind.GO), (-0.5, VerdictKind.HOLD)):
            store = await world(left, live=False)
            await put(store, elsewhere)
            verdict = await check(store, SHOP.key, ChangeClass.FEATURE, None, NOW, signing_key=KEY)
            assert verdict.kind is kind
        bare = MemoryStore()
        await put(bare, Project(name="acme"), elsewhere)
        verdict = await check(bare, SHOP.key, ChangeClass.FEATURE, None, NOW, signing_key=KEY)
        assert (verdict.kind, verdict.reasons[0].rule) == (VerdictKind.HOLD, "no-objective")

    play(scene)


def test_a_freeze_window_that_is_declared_holds_the_ask_and_the_check_alike() -> None:
    """One function judges, whoever asks."""

    async def scene() -> None:
        store = await world()
        freeze = FreezeWindow(name="day", reason="a fair", starts="2026-11-20", duration_s=DAY_S)
        await put(store, Project(name="acme", freezes=(freeze,)), rollout(2, RolloutState.WAITING))
        gate = GateController(store, KEY)
        await record(store, await gate.look(f"{SHOP.key}/000002", NOW))
        answer, _ = await store.get(Verdict, verdict_key(f"{SHOP.key}/000002", 1))
        asked = await check(store, SHOP.key, ChangeClass.FEATURE, "d2", NOW, signing_key=KEY)
        for one in (answer, asked):
            assert one is not None and one.kind is VerdictKind.HOLD
            assert one.reasons[0].rule == "freeze-window" and one.until == NOW + timedelta(hours=12)

    play(scene)


def test_who_approved_and_what_it_needs_is_read_off_the_record() -> None:
    """The author is known by the change, the approvers by their role, the needed service by its rollouts."""

    async def scene() -> None:
        store = await world()
        spec = structs.replace(SHOP, approvals=Approvals(required=1), needs=("pay",))
        change = Change(
            project="acme", commit="c", branch="main", summary="s", author="Ada", committed_at=NOW,
            pushed_by="ada", pushed_at=NOW, change_class=ChangeClass.FEATURE,
        )  # fmt: skip
        people = [Principal(name=name, roles={"acme": Role.OPERATOR}) for name in ("ada", "bob")]
        release = Release(
            project="acme", service="shop", n=2, digest="d2", run=2, commit="c", summary="s",
            change_class=ChangeClass.FEATURE, committed_at=NOW, created_at=NOW,
        )  # fmt: skip
        pay = structs.replace(rollout(3, RolloutState.STEPPING), service="pay")
        await put(store, spec, change, release, *people, rollout(2, RolloutState.WAITING), pay)

        async def rules() -> list[str]:
            found = await check(store, SHOP.key, ChangeClass.FEATURE, "d2", NOW, signing_key=KEY)
            return [one.rule for one in found.reasons][:2]

        assert await rules() == ["approvals", "needs"]
        for by in ("ada", "bob"):
            wish = await ask_grant(
                store, signing_key=KEY, service_key=SHOP.key, kind=GrantKind.APPROVAL, by=by, reason="seen",
                for_s=60.0, now=NOW, digest="d2",
            )  # fmt: skip
            await record(store, wish)
            assert await rules() == (["approvals", "needs"] if by == "ada" else ["needs", "grant-pending"])
        await put(store, structs.replace(pay, state=RolloutState.LIVE))
        assert "approved" in await rules()

    play(scene)
