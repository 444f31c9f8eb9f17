"""The shell of the gate: answers each ask once; the same reading serves ``poise gate check``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from poise.balance.gate.decide import facts_of, judge, standings
from poise.balance.gate.facts import Approvers, Holds, Need, OpenIncident, OverdueAction, Question
from poise.balance.gate.holding import approvers_of, freezes_at, locks_on, needs_of, open_freezes
from poise.balance.gate.seal import is_genuine
from poise.balance.gate.standing import PolicyStanding
from poise.balance.gate.variables import values_of
from poise.model.balance import COUNTED_KEY, Budget, Counted, Override, Verdict, verdict_key
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.duty import duties
from poise.model.errors import NotFound
from poise.model.event_types import GATE_ANSWERED
from poise.model.grant import Grant
from poise.model.incident import Incident, IncidentState
from poise.model.lock import Lock
from poise.model.objective import Objective
from poise.model.policy import Checked, PolicyState
from poise.model.record import Decision, Event, Read, Ref, Write
from poise.model.review import Review
from poise.model.service import Project, Service
from poise.model.spend import Foresight, Outlook
from poise.model.standing import as_of
from poise.ports.store import Store
from poise.spec.condition import evaluate

OVERRIDES_LIMIT = 50  # the newest; older ones have expired
ROLLOUTS_LIMIT = 200
GRANTS_LIMIT = 50  # the newest; older ones have expired or been renewed
INCIDENTS_LIMIT = 200  # the newest of the project; an older one that still pages has been forgotten
REVIEWS_LIMIT = 200
OPEN_INCIDENTS_LIMIT = 10  # that a verdict keeps
OVERDUE_LIMIT = 20
SUMMARY_LIMIT = 200  # characters of what people wrote


class _Scene(Struct, frozen=True, kw_only=True):
    """What the gate reads of one service, and the references to it."""

    service: Service
    project: Project
    objectives: tuple[str, ...]
    budgets: tuple[Budget, ...]
    overrides: tuple[Override, ...]
    live: bool
    incidents: tuple[OpenIncident, ...]
    reviews: tuple[Review, ...]
    state: PolicyState | None
    grants: tuple[Grant, ...]
    foresights: dict[str, Foresight]
    locks: tuple[Lock, ...]
    needs: tuple[Need, ...]
    approvers: Approvers
    reads: tuple[Read, ...]

    def verdict(self, question: Question, now: datetime) -> Verdict:
        """The one function that judges, whoever asks."""
        return judge(
            question,
            self.service,
            self.budgets,
            self.project.policy,
            self.overrides,
            self.incidents,
            objectives=self.objectives,
            now=now,
            overdue=_overdue(self.reviews, now),
            state=self.state,
            duties=duties(self.reviews, self.project.policy, now),
            checked=self._checked(question, now),
            grants=self.grants,
            foresights=self.foresights,
            holds=Holds(
                freezes=open_freezes(self.project.freezes, self.service, now),
                freezes_at=freezes_at(self.project.freezes, self.service, now),
                locks=tuple(one for one in self.locks if one.is_in_force(now)),
                needs=self.needs,
                approvers=self.approvers,
            ),
        )

    def _checked(self, question: Question, now: datetime) -> tuple[Checked, ...]:
        """The policy's conditions, evaluated of what is known; the verdict keeps the results."""
        conditions = self.project.policy.conditions
        if not conditions:
            return ()
        late = len(_overdue(self.reviews, now))
        chances = [one.spent_chance for one in self.foresights.values()]
        values = values_of(
            question, self.service, self.budgets, len(self.incidents), late, now, max(chances, default=None)
        )
        return tuple(evaluate(one, values) for one in conditions)


class GateController:
    """Keys are rollout keys. ``signing_key`` is the installation's; overrides without it count nothing."""

    name = "gate"

    def __init__(self, store: Store, signing_key: bytes) -> None:
        self._store = store
        self._signing_key = signing_key

    async def keys(self) -> Iterable[str]:
        """Every rollout that may be waiting for an answer."""
        keys: list[str] = []
        after = ""
        while True:
            found, _ = await self._store.scan(Rollout, after=after)
            if not found:
                return keys
            keys += [one.key for one in found if one.ask is not None and not one.state.is_final]
            after = found[-1].key

    def wakes(self, ref: Ref) -> str | None:
        """A rollout was written: it may have asked."""
        return ref.key if ref.kind == "Rollout" else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Answer the rollout's ask, once and for ever."""
        rollout, ref = await self._store.get(Rollout, key)
        if rollout is None or rollout.ask is None:
            return Decision()
        ask = rollout.ask
        place = verdict_key(rollout.key, ask.n)
        answered, verdict_ref = await self._store.get(Verdict, place)
        if answered is not None:
            return Decision()
        scene = await _scene(self._store, rollout.spec, self._signing_key, ask.digest, beside=rollout.key)
        question = Question(
            change_class=rollout.change_class,
            digest=ask.digest,
            step=ask.step,
            weight_percent=ask.weight_percent,
            from_percent=rollout.weight_percent,
            first_release=not scene.live and not scene.service.runs_elsewhere,
            interrupted=rollout.beside == 0 and rollout.state.is_active,
            excess_ratio_high=_excess_ratio_high(rollout),
        )
        verdict = scene.verdict(question, now)
        return Decision(
            reads=(ref, verdict_ref, *scene.reads),
            writes=(Write(kind="Verdict", key=place, body=verdict),),
            events=(_answered(rollout.key, ask.n, verdict),),
        )


def _excess_ratio_high(rollout: Rollout) -> float | None:
    """What the canary's evidence still allows; None where there is none, or a person ordered all at once."""
    measured = rollout.trial.canary_requests > 0 and not rollout.straight
    return rollout.trial.excess_ratio_high if measured else None


async def check(
    store: Store,
    service_key: str,
    change_class: ChangeClass,
    digest: str | None,
    now: datetime,
    *,
    signing_key: bytes,
) -> Verdict:
    """What the gate would say to a new rollout of the service now; nothing is written.

    ``NotFound`` for a service that is not declared.
    """
    service, _ = await store.get(Service, service_key)
    if service is None:
        raise NotFound(
            "POISE-B401",
            f"there is no service '{service_key}'",
            where=service_key,
            mend="Run: poise status",
        )
    scene = await _scene(store, service, signing_key, digest or "")
    question = Question(
        change_class=change_class,
        digest=digest or "",
        weight_percent=service.strategy.first_percent,
        first_release=not scene.live and not scene.service.runs_elsewhere,
    )
    return scene.verdict(question, now)


async def standing_of(store: Store, service_key: str, now: datetime, *, signing_key: bytes) -> PolicyStanding:
    """The policy of a service and where it stands now; ``NotFound`` for one that is not declared."""
    verdict = await check(store, service_key, ChangeClass.FEATURE, None, now, signing_key=signing_key)
    facts = facts_of(verdict.inputs)
    return PolicyStanding(
        service=service_key,
        policy=facts.policy,
        level=verdict.level,
        kind=verdict.kind,
        sentence=verdict.sentence,
        state=facts.state,
        standings=standings(facts),
        duties=facts.duties,
        checked=facts.checked,
        overrides=tuple(one for one in facts.overrides if one.at <= now < one.expires_at),
        grants=tuple(one for one in facts.grants if now < one.expires_at and one.allowed is not False),
        at=now,
    )


async def _scene(
    store: Store, service: Service, signing_key: bytes, digest: str, *, beside: str = ""
) -> _Scene:
    """Read what a verdict on a digest needs. ``beside`` is the asking rollout, which is not what is live."""
    prefix = f"{service.key}/"
    project, project_ref = await store.get(Project, service.project)
    objectives, objectives_ref = await store.scan(Objective, prefix)
    budgets, budgets_ref = await store.scan(Budget, prefix)
    counted, _ = await store.get(Counted, COUNTED_KEY)
    overrides, overrides_ref = await store.scan(Override, prefix, limit=OVERRIDES_LIMIT, last=True)
    rollouts, rollouts_ref = await store.scan(Rollout, prefix, limit=ROLLOUTS_LIMIT, last=True)
    of_project = f"{service.project}/"
    incidents, incidents_ref = await store.scan(Incident, of_project, limit=INCIDENTS_LIMIT, last=True)
    state, state_ref = await store.get(PolicyState, service.key)
    grants, grants_ref = await store.scan(Grant, prefix, limit=GRANTS_LIMIT, last=True)
    outlooks, outlooks_ref = await store.scan(Outlook, prefix)
    locks, locks_refs = await locks_on(store, service)
    policy = (project or Project(name="")).policy
    needs, needs_refs = await needs_of(store, service, counted, policy)
    approvers, approvers_refs = await approvers_of(store, service, digest)
    reviews, reviews_ref = await store.scan(Review, of_project, limit=REVIEWS_LIMIT, last=True)
    # with more rollouts than were read, a live one may be among the others: never take it for the first
    live = len(rollouts) >= ROLLOUTS_LIMIT or any(
        one.state is RolloutState.LIVE for one in rollouts if one.key != beside
    )
    return _Scene(
        service=service,
        project=project or Project(name=service.project),
        objectives=tuple(objective.key for objective in objectives),
        budgets=tuple(as_of(one, counted, policy) for one in budgets),
        overrides=tuple(one for one in overrides if is_genuine(one, signing_key)),
        live=live,
        incidents=_open(service, incidents),
        reviews=tuple(one for one in reviews if service.key in one.services),
        state=state,
        locks=locks,
        needs=needs,
        approvers=approvers,
        foresights={one.key: one.foresight for one in outlooks if one.foresight is not None},
        grants=tuple(one for one in grants if is_genuine(one, signing_key)),
        reads=(
            project_ref, objectives_ref, budgets_ref, overrides_ref, rollouts_ref, incidents_ref, reviews_ref,
            state_ref, grants_ref, outlooks_ref, *locks_refs, *needs_refs,
            *approvers_refs,
        ),
    )  # fmt: skip


def _open(service: Service, incidents: Iterable[Incident]) -> tuple[OpenIncident, ...]:
    """Incidents that page, of the service or one it depends on; a mitigated one hurts no user any more."""
    watched = {
        service.key,
        *(f"{service.project}/{service.environment}/{name}" for name in service.depends_on),
    }
    return tuple(
        OpenIncident(
            key=one.key, summary=f"{one.n} ({one.severity}, {one.state}) {one.title[:SUMMARY_LIMIT]}"
        )
        for one in incidents
        if one.state in (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)
        and one.severity.pages
        and watched & {one.service, *one.services}
    )[-OPEN_INCIDENTS_LIMIT:]


def _overdue(reviews: Iterable[Review], now: datetime) -> tuple[OverdueAction, ...]:
    """What the reviews asked for and nobody has done in time, the longest overdue first."""
    late = [
        OverdueAction(
            incident=int(review.key.rpartition("/")[2]), n=action.n, text=action.text[:SUMMARY_LIMIT],
            owner=action.owner, due_at=action.due_at,
        )
        for review in reviews
        for action in review.actions
        if action.is_overdue(now)
    ]  # fmt: skip
    return tuple(sorted(late, key=lambda one: (one.due_at, one.incident, one.n))[:OVERDUE_LIMIT])


def _answered(rollout: str, n: int, verdict: Verdict) -> Event:
    return Event(
        type=GATE_ANSWERED,
        subject=rollout,
        summary=verdict.sentence,
        data={
            "ask": n,
            "kind": verdict.kind.value,
            "class": verdict.change_class.value,
            "rules": [reason.rule for reason in verdict.reasons],
            "max_weight_percent": verdict.max_weight_percent,
            "override": verdict.override,
        },
    )
