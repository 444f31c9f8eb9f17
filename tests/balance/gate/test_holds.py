"""What holds a change besides the budget: each rule both ways, what passes it, and what opens it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.balance.gate.test_levels import GO, HOLD, NOW, SHOP, ask, budget, grant, rules

from poise.balance.gate.decide import replay
from poise.balance.gate.facts import Approvers, Holds, Need, OpenFreeze
from poise.balance.gate.holding import freezes_at, open_freezes
from poise.model.access import Role
from poise.model.balance import Override, Verdict
from poise.model.delivery import ChangeClass, RolloutState
from poise.model.grant import Grant, GrantKind
from poise.model.lock import Lock
from poise.model.policy import Level
from poise.model.service import Approvals, FreezeWindow

HOUR = timedelta(hours=1)
FREEZE = OpenFreeze(name="year-end", reason="the books close", since=NOW - HOUR, until=NOW + HOUR)
OVERRIDE = Override(
    service=SHOP.key, n=1, by="ada", reason="must", at=NOW - HOUR, expires_at=NOW + HOUR, signature="",
    approved_by="bob",
)  # fmt: skip


def window(**changes: object) -> FreezeWindow:
    fields = {"name": "night", "reason": "r", "starts": "2026-11-20T11:00:00", "duration_s": 7200.0}
    return FreezeWindow(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (ChangeClass.FEATURE, HOLD),
        (ChangeClass.FIX, GO),
        (ChangeClass.SECURITY, GO),
        (ChangeClass.ROLLBACK, GO),
    ],
)
def test_in_a_freeze_window_features_wait_and_repairs_go(kind: ChangeClass, verdict: object) -> None:
    """As the policy's own freeze does."""
    found = ask(budget(), kind=kind, holds=Holds(freezes=(FREEZE,)))
    assert found.kind is verdict
    if kind is ChangeClass.FEATURE:
        assert (found.level, found.until, rules(found)) == (Level.FREEZE, FREEZE.until, ["freeze-window"])
        assert "freeze window 'year-end' until 2026-11-20 13:00 UTC: the books close" in found.sentence
        assert replay(found.inputs) == found


@pytest.mark.parametrize(
    ("kind", "overridden", "lapses"),
    [
        (ChangeClass.FEATURE, False, True),
        (ChangeClass.FEATURE, True, False),
        (ChangeClass.FIX, False, False),
        (ChangeClass.ROLLBACK, False, False),
    ],
)
def test_a_verdict_lapses_when_a_freeze_window_opens_for_what_it_would_hold(
    kind: ChangeClass, overridden: bool, lapses: bool
) -> None:
    """What was granted a moment before the window opens must not reach users in it."""
    opens = NOW + timedelta(seconds=10)
    overrides = (OVERRIDE,) if overridden else ()
    found = ask(budget(), kind=kind, overrides=overrides, holds=Holds(freezes_at=opens))
    assert (found.kind, found.lapses_at) == (GO, opens if lapses else None)
    assert replay(found.inputs) == found


@pytest.mark.parametrize(
    ("ahead_s", "is_told"), [(-1, False), (0, False), (1, True), (30, True), (31, False)]
)
def test_only_a_window_that_opens_while_the_verdict_may_be_used_is_told(ahead_s: int, is_told: bool) -> None:
    """NOW is 12:00: the window opens so many seconds later."""
    opens = NOW + timedelta(seconds=ahead_s)
    freeze = window(starts=f"{opens:%Y-%m-%dT%H:%M:%S}")
    assert freezes_at([freeze, window(environments=("staging",))], SHOP, NOW) == (opens if is_told else None)


def test_a_first_release_waits_for_the_end_of_a_freeze_too() -> None:
    """It would start something new at a time when nobody wants anything new."""
    assert ask(budget(), first=True, holds=Holds(freezes=(FREEZE,))).kind is HOLD


def test_an_override_opens_a_freeze_window_and_its_end_closes_it() -> None:
    """Two people signed it."""
    assert ask(budget(), overrides=(OVERRIDE,), holds=Holds(freezes=(FREEZE,))).kind is GO
    over = OpenFreeze(name="x", reason="r", since=NOW - HOUR, until=NOW)
    assert ask(budget(), holds=Holds(freezes=(over,))).kind is GO


def test_a_spent_budget_is_told_beside_the_freeze_and_nobody_knows_the_end_then() -> None:
    """Who waits for the freeze to end shall know that it will not be enough."""
    found = ask(budget(-0.1), holds=Holds(freezes=(FREEZE,)))
    assert (rules(found)[:2], found.until) == (["freeze-window", "spent"], None)


def test_windows_that_touch_end_together() -> None:
    """'Until 12:00' would be no help where the next one begins at 12:00."""
    first = window(starts="2026-11-20T11:30:00", duration_s=3600.0)
    second = window(name="day", starts="2026-11-20T12:30:00", duration_s=3600.0)
    (found,) = open_freezes((first, second), SHOP, NOW)
    assert (found.name, found.since.hour, found.until) == ("night", 11, NOW + 1.5 * HOUR)


def test_a_window_is_for_the_environments_and_services_that_it_names() -> None:
    """All of them, where it names none."""
    assert open_freezes((window(),), SHOP, NOW)
    assert open_freezes((window(environments=("production",), services=("shop",)),), SHOP, NOW)
    assert not open_freezes((window(environments=("staging",)),), SHOP, NOW)
    assert not open_freezes((window(services=("cart",)),), SHOP, NOW)


def test_a_repeated_window_follows_the_clock_on_the_wall() -> None:
    """Fridays from 15:00 in Berlin, in summer as in winter."""
    one = window(starts="2026-03-06T15:00:00", zone="Europe/Berlin", rrule="FREQ=WEEKLY;BYDAY=FR")
    summer, winter = datetime(2026, 7, 3, 13, tzinfo=UTC), datetime(2026, 11, 20, 14, tzinfo=UTC)
    for start in (summer, winter):
        assert not open_freezes((one,), SHOP, start - timedelta(seconds=1))
        assert open_freezes((one,), SHOP, start)[0].until == start + 2 * HOUR
        assert not open_freezes((one,), SHOP, start + 2 * HOUR)


@given(
    minutes=st.integers(-600, 600),
    left=st.floats(-0.5, 1.0),
    kind=st.sampled_from((ChangeClass.FEATURE, ChangeClass.FIX, ChangeClass.SECURITY)),
    first=st.booleans(),
)
def test_no_feature_gets_any_weight_in_a_freeze_window(
    minutes: int, left: float, kind: ChangeClass, first: bool
) -> None:
    """And whatever else the window does, it never makes a verdict kinder."""
    since = NOW + timedelta(minutes=minutes)
    freeze = OpenFreeze(name="x", reason="r", since=since, until=since + 2 * HOUR)
    is_open = since <= NOW < since + 2 * HOUR
    frozen = ask(budget(left), kind=kind, first=first, holds=Holds(freezes=(freeze,)))
    plain = ask(budget(left), kind=kind, first=first)
    if is_open and kind is ChangeClass.FEATURE:
        assert frozen.kind is HOLD and frozen.max_weight_percent == 0
    else:
        assert (frozen.kind, frozen.max_weight_percent) == (plain.kind, plain.max_weight_percent)


def lock(place: str = "acme/production", **changes: object) -> Lock:
    fields = {"place": place, "by": "ada", "reason": "a move", "at": NOW - HOUR, "expires_at": NOW + HOUR}
    return Lock(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", list(ChangeClass))
@pytest.mark.parametrize("place", ["acme/production", SHOP.key])
def test_a_lock_holds_everything_but_a_rollback_and_no_override_opens_it(
    kind: ChangeClass, place: str
) -> None:
    """Whoever locked it has their hands in it; going back is safe all the same."""
    found = ask(budget(), kind=kind, overrides=(OVERRIDE,), holds=Holds(locks=(lock(place),)))
    if kind is ChangeClass.ROLLBACK:
        assert found.kind is GO
        return
    assert (found.kind, rules(found), found.until) == (HOLD, ["lock"], NOW + HOUR)
    assert f"ada locked {place} until 2026-11-20 13:00 UTC: a move (poise unlock" in found.sentence
    assert replay(found.inputs) == found


@pytest.mark.parametrize(
    "over",
    [
        lock(expires_at=NOW),
        lock(lifted_at=NOW, lifted_by="bob"),
        lock("acme/staging"),
        lock("acme/production/cart"),
        lock(at=NOW + HOUR / 2),
    ],
)
def test_a_lock_that_is_over_lifted_or_elsewhere_holds_nothing(over: Lock) -> None:
    """It ends by itself, and stays on record."""
    assert ask(budget(), holds=Holds(locks=(over,))).kind is GO


GUARDED = structs.replace(SHOP, approvals=Approvals(required=2))
PEOPLE = Approvers(names=("ada", "bob", "eve"), author="ada")


def approval(by: str, **changes: object) -> Grant:
    return grant(GrantKind.APPROVAL, **({"decided_by": by, "digest": "sha256:1"} | changes))


def enter(*grants: Grant, kind: ChangeClass = ChangeClass.FEATURE, **more: object) -> Verdict:
    holds = Holds(approvers=more.pop("approvers", PEOPLE))  # type: ignore[arg-type]
    service = more.pop("service", GUARDED)
    return ask(budget(), kind=kind, service=service, grants=grants, holds=holds, **more)  # type: ignore[arg-type]


def test_a_release_enters_once_enough_people_approved_its_digest() -> None:
    """Who, when and why are in the verdict that let it in."""
    held = enter(approval("bob"))
    assert (held.kind, held.level, rules(held)) == (HOLD, Level.APPROVAL, ["approvals"])
    assert "1 of 2 approvals (bob); eve may: poise gate approve shop --digest sha256:1" in held.sentence
    let = enter(approval("bob"), approval("eve", n=5, reason="seen in staging"))
    assert let.kind is GO and rules(let)[1:] == ["approved", "approved"]
    assert "eve approved it at 2026-11-20 11:30 UTC: seen in staging" in let.sentence
    assert replay(let.inputs) == let and replay(held.inputs) == held


@pytest.mark.parametrize(
    "second",
    [
        approval("ada"),
        approval("bob", n=5),
        approval("mallory"),
        approval("eve", digest="sha256:2"),
        approval("eve", digest=None),
        approval("eve", expires_at=NOW),
        approval("eve", allowed=False),
        approval("eve", allowed=None),
        approval("eve", service="acme/production/cart"),
        grant(GrantKind.RULING, decided_by="eve", digest="sha256:1"),
    ],
)
def test_what_is_no_approval_of_this_digest_by_another_person_counts_nothing(second: Grant) -> None:
    """The author's, the same person's, a stranger's, another digest's, one that is over or refused."""
    held = enter(approval("bob"), second)
    assert held.kind is HOLD and rules(held)[0] == "approvals"


def test_the_author_counts_where_nobody_else_could_approve() -> None:
    """A team of one is told so, and not locked out."""
    alone = Approvers(names=("ada",), author="ada")
    one = structs.replace(SHOP, approvals=Approvals(required=1))
    assert enter(approval("ada"), service=one, approvers=alone).kind is GO
    held = enter(approval("ada"), approvers=alone)
    assert held.kind is HOLD and "only 1 may approve" in held.sentence


def test_approvals_are_asked_for_at_the_door_and_of_everything_but_a_rollback() -> None:
    """What is in has been let in: an approval that ends must not leave it halfway."""
    question = {"grants": (), "service": GUARDED, "holds": Holds(approvers=PEOPLE)}
    for kind in ChangeClass:
        assert enter(kind=kind).kind is (GO if kind is ChangeClass.ROLLBACK else HOLD)
    inside = replay(_moved(ask(budget(), **question).inputs, from_percent=5))  # type: ignore[arg-type]
    assert inside.kind is GO
    assert enter(overrides=(OVERRIDE,)).kind is GO


def test_of_no_release_in_particular_it_is_told_that_approvals_are_needed() -> None:
    """A service that nobody deploys waits for nobody: its status is no alarm."""
    asked = ask(budget(), service=GUARDED, holds=Holds(approvers=PEOPLE))
    plain = replay(_moved(asked.inputs, digest=""))
    assert plain.kind is GO and "a release needs 2 approvals by people of role operator" in plain.sentence


def _moved(inputs: dict[str, object], **question: object) -> dict[str, object]:
    return inputs | {"question": inputs["question"] | question}  # type: ignore[operator]


@given(
    st.sets(st.sampled_from(("ada", "bob", "eve", "dan"))), st.integers(0, 4), st.sampled_from(("ada", ""))
)
def test_nobody_enters_with_fewer_approvers_than_are_required(
    given_by: set[str], required: int, author: str
) -> None:
    """Counted as people, without the author."""
    service = structs.replace(SHOP, approvals=Approvals(required=required, role=Role.ADMIN))
    people = Approvers(names=("ada", "bob", "eve"), author=author)
    grants = [approval(name, n=n) for n, name in enumerate(sorted(given_by), 1)]
    found = enter(*grants, service=service, approvers=people)
    count = len(given_by & {"ada", "bob", "eve"} - {author})
    assert (found.kind is GO) == (count >= required)


PAY = "acme/production/pay"


@pytest.mark.parametrize(
    ("need", "said"),
    [
        (
            Need(service=PAY, rollout=7, state=RolloutState.STEPPING, weight_percent=20),
            "7 is under way at 20 %",
        ),
        (Need(service=PAY, rollout=7, state=RolloutState.WAITING), "its rollout 7 waits"),
        (Need(service=PAY, budgets=(budget(-0.1, service=PAY),)), "budget is spent"),
        (Need(service=PAY, budgets=(budget(0.9, service=PAY, measured_at=NOW - HOUR),)), "3600 s ago"),
        (Need(service=PAY, budgets=(budget(0.9, service=PAY), budget(0.2, service=PAY))), ""),
        (Need(service=PAY), ""),
    ],
)
def test_a_feature_waits_until_what_it_needs_is_at_rest_and_well(need: Need, said: str) -> None:
    """Two changes at once cannot be told apart, and an ill service judges nobody fairly."""
    found = ask(budget(), holds=Holds(needs=(need,)))
    if not said:
        assert found.kind is GO
        return
    assert (found.kind, rules(found)) == (HOLD, ["needs"]) and "it needs pay, and" in found.sentence
    assert said in found.sentence and replay(found.inputs) == found
    for kind in (ChangeClass.FIX, ChangeClass.SECURITY, ChangeClass.ROLLBACK):
        assert ask(budget(), kind=kind, holds=Holds(needs=(need,))).kind is GO
    assert ask(budget(), overrides=(OVERRIDE,), holds=Holds(needs=(need,))).kind is GO
