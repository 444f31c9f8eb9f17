"""Bugs to plant, one at a time, to see that the simulation finds them. Nothing else may use this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from msgspec.structs import replace

from poise.adapters.memory import MemoryStore
from poise.balance.budget.counting import Counting
from poise.balance.gate import controller as gate_controller
from poise.balance.gate import decide as gate_decide
from poise.balance.gate import holding as gate_holding
from poise.balance.gate import holds as gate_holds
from poise.balance.gate import permits, sizes
from poise.balance.policy import decide as policy_decide
from poise.delivery.rollout import asking, moves, plan, settings
from poise.delivery.rollout import decide as rollout_decide
from poise.delivery.rollout.facts import Seen
from poise.engine.controller import Again, Dropped
from poise.engine.loop import Loop
from poise.fleet import decide as fleet_decide
from poise.fleet import deeds, weights
from poise.model import pacing, standing
from poise.model.balance import Override
from poise.model.delivery import Rollout, RolloutState
from poise.model.errors import Invalid
from poise.model.incident import Page
from poise.model.record import Decision
from poise.model.service import StrategyKind
from poise.ports.store import IntentState, StoredIntent
from poise.reliability.healing import decide as healing_decide
from poise.reliability.incident import grouping
from poise.reliability.paging import controller as paging_controller
from poise.reliability.paging import decide as paging_decide
from poise.reliability.paging import deeds as paging_deeds
from poise.reliability.paging import disputes
from poise.reliability.review import decide as review_decide
from poise.reliability.review import draft
from poise.reliability.scaling import decide as scaling_decide
from poise.simulation import faults

Swap = tuple[object, str, Any]  # in what, which name, and the bug to put there


@contextmanager
def planted(plant: str | None) -> Iterator[None]:
    """The named bug is in the code inside this block; ``Invalid`` for a name that is none."""
    if plant is None:
        yield
        return
    if plant not in PLANTS:
        raise Invalid(
            "POISE-X101", f"there is no plant '{plant}'", where="--plant", mend=f"One of: {', '.join(PLANTS)}"
        )
    with ExitStack() as stack:
        for owner, name, bug in PLANTS[plant]():
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, bug)
        yield


def _unchecked_generation() -> list[Swap]:
    """The store records a decision without looking whether what it read still stands."""
    return [(MemoryStore, "_holds", lambda self, reads: True)]


def _lost_intent() -> list[Swap]:
    """The loop takes an intent that it should try again for one that is done."""
    honest = Loop.perform

    async def perform(self: Loop, stored: StoredIntent) -> None:
        if stored.attempts or self.lease is None or stored.intent.key in _performed:
            await honest(self, stored)
            return
        _performed.add(stored.intent.key)
        if len(_performed) % 7:
            await honest(self, stored)
            return
        self._performing.pop(stored.intent.key, None)
        await self._store.settle(stored.intent.key, IntentState.DONE, "done", fence=self.lease.token)

    _performed: set[str] = set()
    return [(Loop, "perform", perform)]


def _unfenced() -> list[Swap]:
    """The store takes writes of a leader that has been replaced."""
    return [(MemoryStore, "_check_fence", lambda self, fence: None)]


def _stale_verdict() -> list[Swap]:
    """The executor does not mind how old a verdict is; the world is so slow that verdicts do grow old."""
    return [(deeds, "VERDICT_MAX_AGE_S", 1e9), (faults, "SLOW", 0.4)]


def _go_on_unknown() -> list[Swap]:
    """The gate takes missing data for good news."""
    return [(standing, "_unknown", lambda budget, policy, now: None)]


def _double_budget() -> list[Swap]:
    """After a restart the budget counts its first batch twice."""
    honest = Counting.take
    begun: set[int] = set()

    def take(self: Counting, rows: Any, now: Any) -> Any:
        made = honest(self, rows, now)
        if len(made) and id(self.book) not in begun:
            begun.add(id(self.book))
            self.book.add(made)
        return made

    return [(Counting, "take", take)]


def _forgotten_rejection() -> list[Swap]:
    """A digest that was rolled back comes again by itself."""
    return [(Seen, "rejected_by", lambda self, digest: None)]


def _skipped_staging() -> list[Swap]:
    """A release enters every environment at once."""
    return [(Seen, "may_enter", lambda self, digest: True)]


def _forgotten_config() -> list[Swap]:
    """A config version that was rolled back comes again by itself."""
    return [(settings, "is_rejected", lambda rollouts, kind, version: False)]


def _weights_off() -> list[Swap]:
    """The split adds up to one percent too many."""

    def off(live: Rollout | None, canary: Rollout | None, share: int) -> dict[int, int]:
        split = {canary.n: share} if canary is not None and share > 0 else {}
        return split | ({live.n: min(100, 101 - share)} if live is not None and share < 100 else {})

    return [(weights, "_weights", off)]


def _healing_spree() -> list[Swap]:
    """Half of a service fails together, and all of it is killed."""
    return [
        (healing_decide, "is_mass_failure", lambda failing, replicas, heal: False),
        (healing_decide, "budget", lambda replicas, heal: 99),
    ]


def _two_live() -> list[Swap]:
    """A promotion forgets to retire what was live."""
    honest = moves.decision

    def decision(seen: Seen, now: Any, *rollouts: Rollout, **rest: Any) -> Any:
        kept = [one for one in rollouts if one.state is not RolloutState.RETIRED]
        return honest(seen, now, *kept, **rest)

    return [(rollout_decide, "decision", decision)]


def _new_page_id() -> list[Swap]:
    """A page that is tried again goes out under another id, so that nobody can drop the duplicate."""
    honest = paging_deeds.message_of

    def message_of(page: Page, *rest: Any) -> Any:
        message = honest(page, *rest)
        return replace(message, id=f"{message.id}/{page.attempts}") if page.attempts else message

    return [(paging_deeds, "message_of", message_of)]


def _forgetful_escalation() -> list[Swap]:
    """Who has been paged once is not paged again, and nobody after them."""
    honest = paging_decide.decide

    def decide(seen: Any, now: Any) -> Any:
        known = seen.escalation
        if known is not None and not known.ended and paging_decide.is_paged(seen.incident):
            return Decision(reads=seen.reads)
        return honest(seen, now)

    return [(paging_controller, "decide", decide)]


def _everybody_summoned() -> list[Swap]:
    """That somebody was told of a dispute is forgotten, and the next one is told too."""
    return [(disputes, "_is_told", lambda summons, pages: False)]


def _dropped_page() -> list[Swap]:
    """A receiver that does not answer is taken for one that nobody needs."""

    async def failed(self: Any, page: Page, ref: Any, error: Exception, fence: int, now: Any) -> str:
        raise Dropped(f"not sent: {error}")

    return [(paging_deeds.PagePerformer, "_failed", failed)]


def _unsent_twice() -> list[Swap]:
    """That a page was sent is forgotten, and it is sent again."""
    honest = paging_deeds.PagePerformer._told

    async def told(self: Any, page: Page, ref: Any, receipt: str, fence: int, now: Any) -> None:
        if page.attempts:
            await honest(self, page, ref, receipt, fence, now)
            return
        await self._record(replace(page, attempts=1), ref, None, fence, now)
        raise Again("was it sent?", 5.0)

    return [(paging_deeds.PagePerformer, "_told", told)]


def _lonely_incidents() -> list[Swap]:
    """Alerts of services that need one another are incidents of their own."""
    return [
        (grouping, "needs", lambda service, other, services: False),
        (grouping, "is_linked", lambda one, other, services, window_s: one.key == other.key),
    ]


def _blind_scale_in() -> list[Swap]:
    """Fewer replicas whatever is known of the load."""

    def blind(seen: Any, service: Any, now: Any) -> Any:
        found = honest(seen, service, now)
        if found.withheld and found.current > service.replicas.min:
            return replace(found, replicas=found.current - 1, rule="lower-need")
        return found

    honest = scaling_decide.assess
    return [(scaling_decide, "assess", blind)]


def _unproven_review() -> list[Swap]:
    """A review says things that nothing on record shows."""
    honest = draft.sentences

    def sentences(facts: Any) -> Any:
        return tuple(replace(one, evidence=()) for one in honest(facts))

    return [(review_decide, "sentences", sentences)]


def _own_approval() -> list[Swap]:
    """What one person wishes is enough."""
    return [(Override, "is_approved", property(lambda self: True))]


def _flapping_level() -> list[Swap]:
    """A budget that wavers changes the pace with each reading."""

    def forgetful(before: Any, since: Any, left: float, policy: Any, now: Any) -> Any:
        return pacing.level_of(left, policy), None

    return [(policy_decide, "settled", forgetful)]


def _cold_way_back() -> list[Swap]:
    """After the switch of a blue-green the old one is stopped at once."""

    def cold(rollout: Rollout, full: int) -> plan.Plan:
        return replace(honest(rollout, full), hold_s=0.0)

    honest = plan.PLANS[StrategyKind.BLUE_GREEN]
    return [(plan, "PLANS", {**plan.PLANS, StrategyKind.BLUE_GREEN: cold})]


def _leaky_freeze() -> list[Swap]:
    """The gate does not look at the calendar."""
    return [(gate_holds, "_frozen", lambda facts: ())]


def _unheard_lock() -> list[Swap]:
    """The gate does not hear of locks."""
    return [(gate_decide, "locked", lambda facts: ())]


def _open_door() -> list[Swap]:
    """Who pushed a change lets it in as well."""
    honest = gate_holding.approvers_of

    async def anonymous(*asked: Any) -> Any:
        approvers, reads = await honest(*asked)
        return replace(approvers, author=""), reads

    return [
        (gate_controller, "approvers_of", anonymous),
        (permits, "_is_anothers", _is_anothers),
    ]


async def _is_anothers(*asked: Any) -> bool:
    return True


def _restless_need() -> list[Swap]:
    """What is needed may change at the same time."""
    return [(gate_holds, "_trouble", lambda need, facts: "")]


def _blind_batches() -> list[Swap]:
    """A batch gets its share of the users before its replicas are ready."""
    ready = property(lambda self: len(self.replicas) or 99)
    return [(Seen, "ready", ready), (weights, "may_rise", lambda seen, rollout: True)]


def _two_revisions() -> list[Swap]:
    """A new revision of an app that cannot run twice starts beside the old one."""
    return [(fleet_decide, "_waits", lambda seen, rollout: False)]


def _trusted_shadow() -> list[Swap]:
    """What a revision answered to copies is taken for what it answers to users."""

    def trusting(rollout: Rollout, full: int) -> plan.Plan:
        after = honest(rollout, full)
        return replace(after, weight_percent=100, replicas=full) if rollout.shadow is not None else after

    honest = plan.PLANS[StrategyKind.MIRROR]
    return [
        (plan, "PLANS", {**plan.PLANS, StrategyKind.MIRROR: trusting}),
        (asking, "granted_percent", lambda rollout, verdict, asked: asked),
        (rollout_decide, "granted_percent", lambda rollout, verdict, asked: asked),
        (sizes, "cap_percent", lambda facts, kind, pace, *, stepped: 100),
        (gate_decide, "cap_percent", lambda facts, kind, pace, *, stepped: 100),
    ]


PLANTS: Final[dict[str, Callable[[], list[Swap]]]] = {
    "unchecked-generation": _unchecked_generation,
    "lost-intent": _lost_intent,
    "unfenced": _unfenced,
    "stale-verdict": _stale_verdict,
    "go-on-unknown": _go_on_unknown,
    "double-budget": _double_budget,
    "forgotten-rejection": _forgotten_rejection,
    "skipped-staging": _skipped_staging,
    "forgotten-config": _forgotten_config,
    "weights-off": _weights_off,
    "healing-spree": _healing_spree,
    "two-live": _two_live,
    "new-page-id": _new_page_id,
    "forgetful-escalation": _forgetful_escalation,
    "everybody-summoned": _everybody_summoned,
    "dropped-page": _dropped_page,
    "page-sent-twice": _unsent_twice,
    "lonely-incidents": _lonely_incidents,
    "blind-scale-in": _blind_scale_in,
    "unproven-review": _unproven_review,
    "own-approval": _own_approval,
    "flapping-level": _flapping_level,
    "cold-way-back": _cold_way_back,
    "leaky-freeze": _leaky_freeze,
    "unheard-lock": _unheard_lock,
    "open-door": _open_door,
    "restless-need": _restless_need,
    "blind-batches": _blind_batches,
    "trusted-shadow": _trusted_shadow,
    "two-revisions": _two_revisions,
}
