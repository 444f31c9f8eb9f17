"""What a rollout of a release would do now: its steps by its strategy, and what stands in its way. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.delivery.rollout.asking import granted_percent
from poise.delivery.rollout.facts import Seen
from poise.delivery.rollout.intake import new_rollout, spec_of
from poise.delivery.rollout.plan import plan_of
from poise.model.balance import Verdict, VerdictKind
from poise.model.delivery import ChangeClass, Release, Rollout

STEPS_MAX: Final = 50


class Step(Struct, frozen=True, kw_only=True):
    """One step ahead: the users' share, the new revision's replicas, and how long it stays there.

    ``judged``: it goes on only with evidence; ``asks``: it is taken only once a person promotes it.
    """

    weight_percent: int
    replicas: int
    hold_s: float
    judged: bool
    asks: bool


class Preview(Struct, frozen=True, kw_only=True):
    """What ``poise deploy`` would do with a release now; nothing is written.

    ``verdict`` is the gate's, with the rules that hold it. ``steps`` are those after it, or once it lets go.
    ``notes`` say what else stands in the way. It is judged anew at each step.
    """

    service: str
    release: int
    digest: str
    summary: str
    change_class: ChangeClass
    strategy: str
    verdict: Verdict
    steps: tuple[Step, ...]
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """In one line."""
        way = "would wait" if self.verdict.kind is VerdictKind.HOLD else "would start"
        return (
            f"release {self.release} of {self.service} ({self.change_class}) {way}: {self.verdict.sentence}"
        )


def preview(seen: Seen, release: Release, verdict: Verdict) -> Preview:
    """What would become of a release whose service is declared, by the gate's answer of this moment."""
    spec = spec_of(seen, release)
    rollout = new_rollout(seen, verdict.at, release, spec)
    rollout = replace(rollout, baseline=seen.live.n if seen.live else None, straight=seen.live is None)
    return Preview(
        service=seen.key,
        release=release.n,
        digest=release.digest,
        summary=release.summary,
        change_class=release.change_class,
        strategy=spec.strategy.kind.value,
        verdict=verdict,
        steps=_steps(rollout, verdict, seen),
        notes=_notes(seen, rollout),
    )


def _steps(rollout: Rollout, verdict: Verdict, seen: Seen) -> tuple[Step, ...]:
    """As ``decide`` would take them while nothing changes; the first is no larger than the gate allows."""
    at = replace(rollout, steps_percent=verdict.steps_percent, bake_factor=verdict.bake_factor)
    found: list[Step] = []
    while at.weight_percent < 100 and len(found) < STEPS_MAX:
        plan = plan_of(at, seen.full(at), seen.live)
        weight = plan.weight_percent
        if not found and verdict.kind is not VerdictKind.HOLD:
            weight = granted_percent(at, verdict, weight)
        if weight <= at.weight_percent:
            break
        at = replace(at, weight_percent=weight)
        then = plan_of(at, seen.full(at), seen.live)
        found.append(
            Step(
                weight_percent=weight,
                replicas=plan.replicas,
                hold_s=then.hold_s,
                judged=then.judged,
                asks=plan.asks,
            )
        )
    return tuple(found)


def _notes(seen: Seen, rollout: Rollout) -> tuple[str, ...]:
    notes = []
    first = plan_of(rollout, seen.full(rollout), seen.live)
    if first.mirror_percent:
        notes.append(f"before that copies of {first.mirror_percent} % of the requests for {first.hold_s:g} s")
    if first.beside == 0:
        notes.append("what is live is stopped for it: nobody is served until it is ready")
    if seen.live is not None and seen.live.revision == rollout.revision:
        notes.append(f"rollout {seen.live.n} is live with the same revision: nothing to roll out")
    if not seen.may_enter(rollout.digest):
        notes.append(f"it has to be live in {seen.environment_before} first")
    rejecting = seen.rejected_by(rollout.digest)
    if rejecting is not None:
        notes.append(f"rollout {rejecting.n} rejected it; by hand it may be tried again")
    if seen.active is not None:
        notes.append(f"rollout {seen.active.n} is under way at {seen.active.weight_percent} %")
    notes += [f"rollout {one.n} waits: {one.reason or 'for its turn'}" for one in seen.waiting]
    return tuple(notes)
