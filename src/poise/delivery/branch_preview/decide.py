"""Which branches have a preview, of which commit, and how it is: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.delivery.branch_preview.naming import label_of
from poise.model import event_types
from poise.model.branch_preview import BranchPreview, PreviewOrder, PreviewRevision, PreviewState, Stopped
from poise.model.delivery import Built, Change, Run, RunState
from poise.model.fleet import Replica
from poise.model.record import Decision, Event, Read, Write
from poise.model.service import Previews

LOOK_S: Final = 30.0  # a safety net: pushes, runs and replicas tell
LOOK_STARTING_S: Final = 1.0
CRASHES_MAX: Final = 3  # before it was ever ready: it will not become so
KEPT_S: Final = 7 * 86_400.0  # for so long a stopped one is told of


class Branch(Struct, frozen=True, kw_only=True):
    """A branch that may have a preview: its head and, where there are any, the head's change and run."""

    name: str
    commit: str
    change: Change | None = None
    run: Run | None = None


class Seen(Struct, frozen=True, kw_only=True):
    """One project. ``branches`` are those that exist and fit; ``existing`` are the names of all.

    ``bases`` are the host names of its declared services with a port, by service; ``hosts`` every declared
    host name of the installation. ``replicas`` are those of previews.
    """

    project: str
    previews: Previews
    branches: tuple[Branch, ...] = ()
    existing: frozenset[str] = frozenset()
    bases: Mapping[str, str] = {}
    hosts: frozenset[str] = frozenset()
    known: tuple[BranchPreview, ...] = ()
    replicas: tuple[Replica, ...] = ()
    orders: tuple[PreviewOrder, ...] = ()
    reads: tuple[Read, ...] = ()


def decide(seen: Seen, now: datetime) -> Decision:
    """Every preview as it should be; told where it is another than it was."""
    before = {one.key: one for one in seen.known}
    after = dict(before)
    for one in _wanted(seen, now):
        after[one.key] = one
    after = {key: _next(seen, one, now) for key, one in after.items()}
    after |= {one.key: one for one in _crowded(seen, after, now)}
    changed = [one for key, one in sorted(after.items()) if one != before.get(key)]
    gone = [one.key for one in seen.known if _is_forgotten(seen, after[one.key], now)]
    return Decision(
        reads=seen.reads if changed or gone else (),
        writes=(
            *(Write(kind="BranchPreview", key=one.key, body=one) for one in changed),
            *(Write(kind="BranchPreview", key=key, body=None) for key in gone),
        ),
        events=tuple(event for one in changed for event in _told(before.get(one.key), one)),
        wake_at=_again(after.values(), now),
    )


# -- what is pushed -----------------------------------------------------------------------------------


def _wanted(seen: Seen, now: datetime) -> Iterator[BranchPreview]:
    """Of each branch whose head was not looked at yet: its previews at that commit."""
    owners = {one.label: one.branch for one in seen.known}
    for branch in sorted(seen.branches, key=lambda branch: branch.name):
        if branch.run is None:
            continue
        label = label_of(branch.name, owners, seen.hosts, tuple(seen.bases.values()))
        owners[label] = branch.name
        for service in _services(seen, branch.run):
            found = _taken(seen, branch, branch.run, label, service, now)
            if found is not None:
                yield found


def _services(seen: Seen, run: Run) -> tuple[str, ...]:
    """Whose previews a run is for; of one that could not even be planned, every declared service's."""
    if run.previews or run.state is not RunState.ERROR:
        return run.previews
    names = seen.previews.services or tuple(sorted(seen.bases))
    return tuple(name for name in names if name in seen.bases)


def _taken(
    seen: Seen, branch: Branch, run: Run, label: str, service: str, now: datetime
) -> BranchPreview | None:
    """The preview with a new commit on its way; None where this run was taken already."""
    host = f"{label}.{seen.bases.get(service, f'{service}.localhost')}"
    found = next((one for one in seen.known if (one.branch, one.service) == (branch.name, service)), None)
    if found is not None and found.run == run.n:
        lifted = found.stopped is not None and found.stopped.is_lifted_by_itself
        if not lifted or host in seen.hosts:
            return None
    change = branch.change
    fresh = found or BranchPreview(
        project=seen.project,
        branch=branch.name,
        label=label,
        service=service,
        host=host,
        state=PreviewState.BUILDING,
        commit=branch.commit,
        run=run.n,
        taken_at=now,
        until=now,
        changed_at=now,
    )
    return replace(
        fresh,
        host=host,
        state=PreviewState.BUILDING,
        commit=branch.commit,
        run=run.n,
        summary=change.summary if change else "",
        pushed_by=change.pushed_by if change else "",
        taken_at=now,
        until=now + timedelta(seconds=seen.previews.life_s),
        stopped=None,
        reason="",
        changed_at=now,
    )


# -- how it is ----------------------------------------------------------------------------------------


def _next(seen: Seen, one: BranchPreview, now: datetime) -> BranchPreview:
    """It stops, or its newest commit gets further."""
    if one.state is PreviewState.STOPPED:
        return one
    why = _why_stopped(seen, one, now)
    if why is not None:
        return _stopped(one, *why, now)
    match one.state:
        case PreviewState.BUILDING:
            return _build(seen, one, now)
        case PreviewState.STARTING:
            return _start(seen, one, now)
        case _:
            return one


def _why_stopped(seen: Seen, one: BranchPreview, now: datetime) -> tuple[Stopped, str] | None:
    if one.branch not in seen.existing:
        return Stopped.DELETED, f"branch {one.branch} was deleted"
    is_declared = not seen.previews.services or one.service in seen.previews.services
    if not is_declared or one.branch not in {branch.name for branch in seen.branches}:
        return Stopped.UNDECLARED, f"no previews of {one.service} are declared for {one.branch} any more"
    if one.host in seen.hosts:
        return Stopped.HOST, f"a service is declared under {one.host}"
    order = next((order for order in seen.orders if order.label == one.label), None)
    if order is not None and order.at >= one.taken_at:
        return Stopped.ORDERED, f"{order.by} asked for it{f' ({order.reason})' if order.reason else ''}"
    if now >= one.until:
        return Stopped.EXPIRED, f"its life was over at {one.until:%Y-%m-%d %H:%M} UTC; push to bring it back"
    return None


def _stopped(one: BranchPreview, why: Stopped, reason: str, now: datetime) -> BranchPreview:
    return replace(
        one,
        state=PreviewState.STOPPED,
        stopped=why,
        reason=reason,
        revisions=(),
        served=0,
        changed_at=now,
    )


def _build(seen: Seen, one: BranchPreview, now: datetime) -> BranchPreview:
    """Once its run is over it starts, or says why it cannot."""
    run = next((branch.run for branch in seen.branches if branch.name == one.branch), None)
    if run is None or run.n != one.run or not run.state.is_final:
        return one
    built = next((built for built in run.built if built.service == one.service), None)
    if built is None:
        said = " ".join(run.problem.split()).removesuffix(".")  # it goes on as a part of one sentence
        what = f": {said}" if said else ""
        return _failed(one, f"run {run.n} of {one.commit[:8]} ended in {run.state.value}{what}", now)
    return replace(
        one,
        state=PreviewState.STARTING,
        revisions=(*_serving(one), _revision(one, built, now)),
        last=one.last + 1,
        changed_at=now,
    )


def _revision(one: BranchPreview, built: Built, now: datetime) -> PreviewRevision:
    return PreviewRevision(
        n=one.last + 1, run=one.run, commit=one.commit, digest=built.digest, spec=built.spec, since=now
    )


def _start(seen: Seen, one: BranchPreview, now: datetime) -> BranchPreview:
    """Ready, not yet, or never."""
    newest = one.newest
    assert newest is not None, "what starts has a revision"
    mine = [
        replica for replica in seen.replicas if replica.service == one.key and replica.rollout == newest.n
    ]
    if any(replica.ready and not replica.draining for replica in mine):
        return replace(one, state=PreviewState.READY, served=newest.n, reason="", changed_at=now)
    limit_s = newest.spec.strategy.start_timeout_s
    crashes = max((len(replica.crashes) for replica in mine), default=0)
    ended = next((replica.ended for replica in mine if replica.ended), "")
    if crashes >= CRASHES_MAX:
        return _failed(one, f"{one.commit[:8]} crashed {crashes} times before it was ready ({ended})", now)
    if now - newest.since < timedelta(seconds=limit_s):
        return one
    last = f" (its newest end: {ended})" if ended else ""
    return _failed(one, f"{one.commit[:8]} was not ready within {limit_s:g} s{last}", now)


def _failed(one: BranchPreview, reason: str, now: datetime) -> BranchPreview:
    """What answered before goes on doing so, and that is said."""
    serving = _serving(one)
    still = f"; {serving[0].commit[:8]} still answers" if serving else ""
    return replace(
        one, state=PreviewState.FAILED, revisions=serving, reason=f"{reason}{still}", changed_at=now
    )


def _serving(one: BranchPreview) -> tuple[PreviewRevision, ...]:
    return tuple(revision for revision in one.revisions if revision.n == one.served)


# -- how many, and for how long -----------------------------------------------------------------------


def _crowded(seen: Seen, after: Mapping[str, BranchPreview], now: datetime) -> Iterator[BranchPreview]:
    """Those of the branches that were pushed to longest ago, above the limit."""
    running = [one for one in after.values() if _takes_room(one)]
    newest: dict[str, datetime] = {}
    for one in running:
        newest[one.branch] = max(newest.get(one.branch, one.taken_at), one.taken_at)
    order = sorted(newest, key=lambda branch: (newest[branch], branch), reverse=True)
    most = seen.previews.max
    for one in running:
        if one.branch in order[most:]:
            reason = f"at most {most} branches have a preview, and {order[0]} was pushed to later"
            yield _stopped(one, Stopped.CROWDED, reason, now)


def _takes_room(one: BranchPreview) -> bool:
    if one.state is PreviewState.STOPPED:
        return False
    return one.state is not PreviewState.FAILED or bool(one.revisions)


def _is_forgotten(seen: Seen, one: BranchPreview, now: datetime) -> bool:
    """Long over, nothing of it left, and its branch gone: one that still exists is not begun anew."""
    left = any(replica.service == one.key for replica in seen.replicas)
    is_over = one.state is PreviewState.STOPPED and now - one.changed_at >= timedelta(seconds=KEPT_S)
    return is_over and not left and one.branch not in seen.existing


def _again(previews: Iterable[BranchPreview], now: datetime) -> datetime | None:
    alive = [one for one in previews if one.state is not PreviewState.STOPPED]
    if not alive:
        return None
    starts = any(one.state is PreviewState.STARTING for one in alive)
    look = now + timedelta(seconds=LOOK_STARTING_S if starts else LOOK_S)
    return min([look, *(one.until for one in alive if one.until > now)])


# -- what is told -------------------------------------------------------------------------------------

_TYPES: Final = {
    PreviewState.FAILED: event_types.PREVIEW_FAILED,
    PreviewState.STOPPED: event_types.PREVIEW_STOPPED,
}


def _told(before: BranchPreview | None, one: BranchPreview) -> Iterator[Event]:
    """A state or commit that is another."""
    if before is not None and (before.state, before.commit, before.reason) == (
        one.state,
        one.commit,
        one.reason,
    ):
        return
    yield Event(
        type=_TYPES.get(one.state, event_types.PREVIEW_CHANGED),
        subject=one.key,
        summary=sentence(one),
        data={
            "branch": one.branch,
            "service": one.service,
            "host": one.host,
            "commit": one.commit,
            "run": one.run,
            "state": one.state.value,
            "until": one.until.isoformat(),
            "rule": one.stopped.value if one.stopped else one.state.value,
        },
    )


def sentence(one: BranchPreview) -> str:
    """How a preview is, in one sentence."""
    what = f"the preview of {one.service} on {one.branch}"
    match one.state:
        case PreviewState.BUILDING:
            return f"{what} is built from {one.commit[:8]}"
        case PreviewState.STARTING:
            return f"{what} starts {one.commit[:8]}"
        case PreviewState.READY:
            return f"{what} is at {one.host}, until {one.until:%Y-%m-%d %H:%M} UTC"
        case PreviewState.FAILED:
            return f"{what} failed: {one.reason}"
        case PreviewState.STOPPED:
            return f"{what} is stopped: {one.reason}"
