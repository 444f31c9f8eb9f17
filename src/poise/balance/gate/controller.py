"""The shell of the gate: answers each ask once; the same reading serves ``poise gate check``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from poise.balance.gate.decide import OpenIncident, OverdueAction, Question, judge
from poise.balance.gate.override import is_genuine, sign
from poise.model.balance import Budget, Override, Verdict, verdict_key
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.errors import Invalid, NotFound
from poise.model.event_types import GATE_ANSWERED, OVERRIDE_CREATED
from poise.model.incident import Incident, IncidentState
from poise.model.objective import Objective
from poise.model.record import Decision, Event, Read, Ref, Write
from poise.model.review import Review
from poise.model.service import Project, Service
from poise.ports.store import Store

OVERRIDES_LIMIT = 50  # the newest; older ones have expired
ROLLOUTS_LIMIT = 200
REASON_LIMIT = 1000
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
        )


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
        scene = await _scene(self._store, rollout.spec, self._signing_key, beside=rollout.key)
        question = Question(
            change_class=rollout.change_class,
            digest=ask.digest,
            step=ask.step,
            weight_percent=ask.weight_percent,
            from_percent=rollout.weight_percent,
            first_release=not scene.live,
        )
        verdict = scene.verdict(question, now)
        return Decision(
            reads=(ref, verdict_ref, *scene.reads),
            writes=(Write(kind="Verdict", key=place, body=verdict),),
            events=(_answered(rollout.key, ask.n, verdict),),
        )


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
    scene = await _scene(store, service, signing_key)
    question = Question(
        change_class=change_class,
        digest=digest or "",
        weight_percent=next(iter(service.strategy.steps_percent), 100),
        first_release=not scene.live,
    )
    return scene.verdict(question, now)


async def make_override(
    store: Store,
    *,
    signing_key: bytes,
    service_key: str,
    by: str,
    reason: str,
    for_s: float,
    now: datetime,
    digest: str | None = None,
) -> Decision:
    """A signed override of the gate for one service, as a decision to commit.

    ``Invalid`` without a reason or for longer than the policy allows; ``NotFound`` for an unknown service.
    """
    service, service_ref = await store.get(Service, service_key)
    if service is None:
        raise NotFound(
            "POISE-B401", f"there is no service '{service_key}'", where=service_key, mend="Run: poise status"
        )
    project, project_ref = await store.get(Project, service.project)
    limit_s = (project or Project(name=service.project)).policy.override_max_s
    _check_override(service_key, reason, for_s, limit_s)
    existing, prefix_ref = await store.scan(Override, f"{service_key}/", limit=1, last=True)
    override = sign(
        Override(
            service=service_key,
            n=existing[-1].n + 1 if existing else 1,
            by=by,
            reason=reason.strip(),
            at=now,
            expires_at=now + timedelta(seconds=for_s),
            signature="",
            digest=digest,
        ),
        signing_key,
    )
    event = Event(
        type=OVERRIDE_CREATED,
        subject=override.key,
        actor=by,
        summary=f"{by} overrides the gate of {service.name} until {override.expires_at:%H:%M} UTC: "
        f"{override.reason}",
        data={"n": override.n, "expires_at": override.expires_at.isoformat(), "digest": digest},
    )
    return Decision(
        reads=(service_ref, project_ref, prefix_ref),
        writes=(Write(kind="Override", key=override.key, body=override),),
        events=(event,),
    )


def _check_override(where: str, reason: str, for_s: float, limit_s: float) -> None:
    if not reason.strip() or len(reason) > REASON_LIMIT:
        raise Invalid(
            "POISE-B402",
            "an override needs a reason",
            where=where,
            why=f"It is read in the review; 1 to {REASON_LIMIT} characters.",
            mend=f"Run: poise gate override {where} --reason '...'",
        )
    if not 0 < for_s <= limit_s:
        raise Invalid(
            "POISE-B403",
            f"an override of {for_s:g} s is not allowed",
            where=where,
            why=f"The policy's overrideMax is {limit_s:g} s.",
            mend=f"Run: poise gate override {where} --for {limit_s:g}s --reason '...'",
        )


async def _scene(store: Store, service: Service, signing_key: bytes, *, beside: str = "") -> _Scene:
    """Read what the verdict needs. ``beside`` is the asking rollout, which is not what is live."""
    prefix = f"{service.key}/"
    project, project_ref = await store.get(Project, service.project)
    objectives, objectives_ref = await store.scan(Objective, prefix)
    budgets, budgets_ref = await store.scan(Budget, prefix)
    overrides, overrides_ref = await store.scan(Override, prefix, limit=OVERRIDES_LIMIT, last=True)
    rollouts, rollouts_ref = await store.scan(Rollout, prefix, limit=ROLLOUTS_LIMIT, last=True)
    of_project = f"{service.project}/"
    incidents, incidents_ref = await store.scan(Incident, of_project, limit=INCIDENTS_LIMIT, last=True)
    reviews, reviews_ref = await store.scan(Review, of_project, limit=REVIEWS_LIMIT, last=True)
    # with more rollouts than were read, a live one may be among the others: never take it for the first
    live = len(rollouts) >= ROLLOUTS_LIMIT or any(
        one.state is RolloutState.LIVE for one in rollouts if one.key != beside
    )
    return _Scene(
        service=service,
        project=project or Project(name=service.project),
        objectives=tuple(objective.key for objective in objectives),
        budgets=tuple(budgets),
        overrides=tuple(one for one in overrides if is_genuine(one, signing_key)),
        live=live,
        incidents=_open(service, incidents),
        reviews=tuple(one for one in reviews if service.key in one.services),
        reads=(
            project_ref, objectives_ref, budgets_ref, overrides_ref, rollouts_ref, incidents_ref, reviews_ref,
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
