"""Reading the record: what the status line, the pages and the lists are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from poise import __version__
from poise.api.parts import Parts
from poise.api.usage import usage_of
from poise.api.views import PreviewStatus, ServiceStatus, Status
from poise.balance.gate.controller import check
from poise.delivery.branch_preview.decide import sentence
from poise.model.access import Principal, Role
from poise.model.attestation import Verification
from poise.model.balance import COUNTED_KEY, Budget, Counted, Verdict, VerdictKind
from poise.model.branch_preview import BranchPreview, PreviewState, is_branch_preview
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.errors import NotFound
from poise.model.fleet import Replica, Route, ScaleTarget
from poise.model.incident import Incident
from poise.model.objective import Objective
from poise.model.service import Project, Service
from poise.model.standing import as_of

RECENT = 50
INCIDENTS_COUNTED = 500  # the newest of all are looked through


async def printing_or_raise(parts: Parts, key: str) -> None:
    """Raise ``NotFound`` unless ``key`` is a declared service or a branch preview."""
    if not is_branch_preview(key) or (await parts.store.get(BranchPreview, key))[0] is None:
        await service_or_raise(parts, key)


async def running_previews(parts: Parts, prefix: str) -> list[BranchPreview]:
    """Branch previews under a prefix that are not stopped."""
    known, _ = await parts.store.scan(BranchPreview, prefix)
    return [one for one in known if one.state is not PreviewState.STOPPED]


def preview_status(parts: Parts, one: BranchPreview) -> PreviewStatus:
    """A branch preview as people see it."""
    return PreviewStatus(
        key=one.key,
        branch=one.branch,
        label=one.label,
        service=one.service,
        address=f"http://{one.host}:{parts.ingress_port}/" if one.revisions else "",
        state=one.state,
        stopped=one.stopped,
        commit=one.commit,
        summary=one.summary,
        pushed_by=one.pushed_by,
        run=one.run,
        until=one.until,
        sentence=sentence(one),
    )


async def service_or_raise(parts: Parts, key: str) -> Service:
    """The declared service, or an error that names the ones there are."""
    service, _ = await parts.store.get(Service, key)
    if service is not None:
        return service
    known, _ = await parts.store.scan(Service, key.split("/", 1)[0] + "/")
    names = ", ".join(one.name for one in known) or "none yet"
    raise NotFound(
        "POISE-E404",
        f"no service {key}",
        why=f"The services there are: {names}.",
        mend="Run: poise status",
    )


async def recent_rollouts(parts: Parts, key: str, limit: int = RECENT) -> list[Rollout]:
    """The newest rollouts of a service, ascending by number."""
    return (await parts.store.scan(Rollout, f"{key}/", limit=limit, last=True))[0]


async def service_status(parts: Parts, service: Service, now: datetime) -> ServiceStatus:
    """One service now."""
    store, key = parts.store, service.key
    rollouts = await recent_rollouts(parts, key)
    live = next((one for one in reversed(rollouts) if one.state is RolloutState.LIVE), None)
    active = next((one for one in reversed(rollouts) if not one.state.is_final and one is not live), None)
    replicas, _ = await store.scan(Replica, f"{key}/")
    objectives, _ = await store.scan(Objective, f"{key}/")
    budgets, _ = await store.scan(Budget, f"{key}/")
    counted, _ = await store.get(Counted, COUNTED_KEY)
    project, _ = await store.get(Project, service.project)
    policy = (project or Project(name="")).policy
    verdict = await check(store, key, ChangeClass.FEATURE, None, now, signing_key=parts.signing_key)
    route, _ = await store.get(Route, key)
    target, _ = await store.get(ScaleTarget, key)
    notices = (*_untaken(route), *_ended_badly(rollouts))
    return ServiceStatus(
        key=key,
        service=service,
        live=live,
        active=active,
        replicas=tuple(replicas),
        route=route,
        objectives=tuple(objectives),
        budgets=tuple(as_of(one, counted, policy) for one in budgets),
        verdict=verdict,
        sentence=_locked(" ".join((*notices, _sentence(service, live, active, replicas, verdict))), verdict),
        notices=notices,
        target=target,
        usage=await usage_of(parts.signals, key, now),
        verification=await _verification(parts, rollouts),
        url=f"http://{service.hostname}:{parts.ingress_port}/" if service.hostname and service.port else None,
    )


async def _verification(parts: Parts, rollouts: list[Rollout]) -> Verification | None:
    """Of the newest rollout that has one; those that never started have none."""
    for one in reversed(rollouts):
        if one.state in (RolloutState.WAITING, RolloutState.SUPERSEDED):
            continue
        found, _ = await parts.store.get(Verification, one.key)
        return found
    return None


async def status(parts: Parts, asker: Principal, project: str | None = None) -> Status:
    """Everything that ``asker`` may see, services that need somebody first."""
    now = parts.clock.now()
    services, _ = await parts.store.scan(Service, f"{project}/" if project else "")
    seen = [
        await service_status(parts, service, now)
        for service in services
        if asker.role_in(service.project) is not None
    ]
    seen.sort(key=lambda one: (not needs_somebody(one), one.key))
    needing = sum(needs_somebody(one) for one in seen)
    keeper, traffic = await _parts_answer(parts)
    return Status(
        at=now,
        version=__version__,
        leader=parts.loop.lease is not None,
        keeper=keeper,
        traffic=traffic,
        services=tuple(seen),
        sentence=_status_sentence(len(seen), needing),
        open_incidents=await _open_incidents(parts, asker, project),
        previews=tuple(
            [
                preview_status(parts, one)
                for one in await running_previews(parts, f"{project}/" if project else "")
                if asker.role_in(one.project) is not None
            ]
        ),
    )


async def _open_incidents(parts: Parts, asker: Principal, project: str | None) -> int:
    prefix = f"{project}/" if project else ""
    found, _ = await parts.store.scan(Incident, prefix, last=True, limit=INCIDENTS_COUNTED)
    return sum(not one.state.is_final and may_see(asker, one.project) for one in found)


def needs_somebody(one: ServiceStatus) -> bool:
    """Held by the gate, fewer replicas ready than declared, or a split that Envoy does not take."""
    is_short = one.live is not None and one.replicas_ready < one.service.replicas.min
    is_untaken = one.route is not None and bool(one.route.trouble)
    return one.verdict.kind is VerdictKind.HOLD or is_short or is_untaken


def may_see(asker: Principal, project: str) -> bool:
    """Whether a list over all projects shows this one to the asker."""
    held = asker.role_in(project)
    return held is not None and held.rank >= Role.VIEWER.rank


async def _parts_answer(parts: Parts) -> tuple[bool, bool]:
    try:
        processes = await parts.runtime.list()
    except (OSError, TimeoutError):
        return False, False
    return True, any(one.key == "envoy" and one.connects for one in processes)


def _status_sentence(total: int, needing: int) -> str:
    if total == 0:
        return "No service yet: write a poise.yaml and push it."
    if needing == 0:
        return f"All {total} services are well." if total > 1 else "The service is well."
    return f"{needing} of {total} services need you."


def _locked(sentence: str, verdict: Verdict) -> str:
    """A lock is told first, whatever else there is to tell."""
    locks = [one.text for one in verdict.reasons if one.rule == "lock" and one.text not in sentence]
    return " ".join((*(f"{text[:1].upper()}{text[1:]}." for text in locks), sentence))


def _untaken(route: Route | None) -> Iterator[str]:
    """That Envoy goes on with the split that it has, and why."""
    if route is not None and route.troubled_since is not None:
        yield f"Envoy takes no change of its traffic since {route.troubled_since:%H:%M} UTC: {route.trouble}"


def _ended_badly(rollouts: Sequence[Rollout]) -> Iterator[str]:
    """Why the newest release that was tried is not the one that is live; nothing where it is.

    ``rollouts`` ascending.
    """
    tried = [one for one in rollouts if one.state not in (RolloutState.SUPERSEDED, RolloutState.WAITING)]
    last = tried[-1] if tried else None
    if last is None or last.finished_at is None:
        return
    if last.state is RolloutState.LIVE and last.change_class is ChangeClass.ROLLBACK:
        yield f"Live again since {last.finished_at:%H:%M} UTC: {last.summary}."
    how = {RolloutState.FAILED: "failed to start", RolloutState.ROLLED_BACK: "was rolled back"}.get(
        last.state
    )
    if how is not None:
        yield f"Release {last.release} {how} at {last.finished_at:%H:%M} UTC: {last.reason}."


def _sentence(
    service: Service,
    live: Rollout | None,
    active: Rollout | None,
    replicas: list[Replica],
    verdict: Verdict,
) -> str:
    if active is not None and active.state is RolloutState.STEPPING:
        how = (
            "as a canary"
            if active.spec.strategy.is_sized
            else f"by strategy {active.spec.strategy.kind.value}"
        )
        return f"Release {active.release} takes {active.weight_percent} % {how} beside the live one."
    if service.runs_elsewhere:
        return f"Runs elsewhere. {verdict.sentence}"
    if live is None:
        return "Not released yet." if active is None else f"Release {active.release} is coming up."
    ready = sum(replica.ready for replica in replicas if replica.rollout == live.n)
    if ready < service.replicas.min:
        return f"{ready} of {service.replicas.min} replicas are ready."
    return verdict.sentence
