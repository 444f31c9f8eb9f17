"""Releases become rollouts, or are passed over with a reason."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from poise.delivery.rollout.facts import Seen
from poise.delivery.rollout.moves import created, decision, superseded, told
from poise.delivery.rollout.revision import revision_of
from poise.delivery.rollout.settings import changes_of, wanted
from poise.model import event_types
from poise.model.delivery import Order, Release, Rollout, RolloutState
from poise.model.record import Decision
from poise.model.service import Service


def take_release(seen: Seen, now: datetime) -> Decision | None:
    """The newest release that may come here as a rollout; None when it is one, or was looked at before.

    In the first environment every release may; in a later one those that were live in the one before.
    """
    if seen.service is None:
        return None
    known = max((max(r.release, r.considered) for r in seen.rollouts), default=0)
    newer = (release for release in reversed(seen.releases) if release.n > known)
    release = next((release for release in newer if seen.may_enter(release.digest)), None)
    if release is None:
        return None
    spec = spec_of(seen, release)
    versions = wanted(seen, release.change_class)
    revision = revision_of(release.digest, spec, *versions)
    running = seen.active or seen.live
    if running is not None and running.revision == revision:
        return _unchanged(seen, now, release, spec, running)
    rejecting = seen.rejected_by(release.digest)
    if rejecting is not None:
        return _rejected(seen, now, release, rejecting)
    return created(seen, now, new_rollout(seen, now, release, spec), "release", "poise")


def spec_of(seen: Seen, release: Release) -> Service:
    """The service as the release's commit declares it for this environment, else as it is declared now."""
    declared = next((spec for spec in release.specs if spec.key == seen.key), seen.service)
    assert declared is not None, "a release is only taken for a declared service"
    return declared


def new_rollout(
    seen: Seen, now: datetime, release: Release, spec: Service, order: Order | None = None
) -> Rollout:
    """A release on its way, with the settings that it takes along."""
    # Orders from before the first rollout were about nothing that exists.
    void = max((o.n for o in seen.orders), default=0) if not seen.rollouts and order is None else 0
    versions = wanted(seen, release.change_class)
    return Rollout(
        project=spec.project,
        environment=spec.environment,
        service=spec.name,
        n=seen.newest.n + 1 if seen.newest else 1,
        release=release.n,
        digest=release.digest,
        revision=revision_of(release.digest, spec, *versions),
        config=versions.config,
        secret=versions.secret,
        changes=changes_of(seen.live, release.digest, spec, versions),
        commit=release.commit,
        summary=release.summary,
        change_class=release.change_class,
        spec=spec,
        order=order.n if order else None,
        orders_seen=max(seen.orders_seen, order.n if order else void),
        created_at=now,
    )


def _unchanged(seen: Seen, now: datetime, release: Release, spec: Service, running: Rollout) -> Decision:
    """Nothing to roll out; what needs no rollout (replicas, strategy) is taken over."""
    ended = [superseded(old, now, f"release {release.n} is what runs already") for old in seen.waiting]
    after = replace(running, considered=release.n)
    if running.state is RolloutState.LIVE:
        after = replace(after, spec=spec, replicas=spec.replicas.min)
    summary = f"{running.service} release {release.n} equals rollout {running.n}: nothing to roll out"
    event = told(event_types.RELEASE_UNCHANGED, running, summary, "unchanged", considered=release.n)
    events = (*(event for _, event in ended), event)
    return decision(seen, now, *(old for old, _ in ended), after, events=events)


def _rejected(seen: Seen, now: datetime, release: Release, rejecting: Rollout) -> Decision:
    newest = seen.newest
    assert newest is not None, "a digest is rejected by a rollout"
    summary = f"{rejecting.service} release {release.n} is not rolled out: rollout {rejecting.n} rejected it"
    event = told(
        event_types.RELEASE_REJECTED, rejecting, summary, "rejected_digest", considered=release.n,
        rejected_by=rejecting.n, reason=rejecting.reason,
        mend=f"poise deploy {rejecting.service} --release {release.n} --reason '...'",
    )  # fmt: skip
    return decision(seen, now, replace(newest, considered=release.n), events=(event,))
