"""After a quiet period: what is desired is what is observed, and everything that began has ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from poise.model.delivery import Release, Rollout, RolloutState
from poise.model.fleet import Replica, Route, ScaleTarget, wanted_replicas
from poise.model.incident import Alert, AlertState, Escalation, Incident, Summons
from poise.model.service import Project
from poise.simulation.control import Surroundings
from poise.simulation.invariants import Watch


async def settled(around: Surroundings, services: Sequence[str]) -> None:
    """Tell the watch of everything that has not come to rest."""
    for service in services:
        _ended(around.watch, service)
        _agrees(around, service)
    _is_calm(around.watch)
    far = around.clock.now() + timedelta(days=1)
    pending = await around.store.pending(far)
    if pending:
        keys = [(stored.intent.key, stored.outcome) for stored in pending]
        around.watch.breach("everything-is-done", f"intents are still pending: {keys}")


def _is_calm(watch: Watch) -> None:
    """Nothing fires, every incident is over, and everybody who was paged has been told."""
    firing = [(one.key, one.summary) for one in watch.all(Alert) if one.state is AlertState.FIRING]
    standing = [one.key for one in watch.all(Incident) if not one.state.is_final]
    if firing or standing:
        watch.breach("every-incident-ends", f"still firing {firing}, still open {standing}")
    paging = [one.incident for one in watch.all(Escalation) if not one.ended]
    paging += [one.dispute for one in watch.all(Summons) if not one.ended]
    if paging:
        watch.breach("every-incident-ends", f"still escalated: {paging}")


def _ended(watch: Watch, service: str) -> None:
    """Each release ended; exactly one is live."""
    rollouts = watch.all(Rollout, f"{service}/")
    open_ = [
        (one.n, one.state.value, one.step, one.reason)
        for one in rollouts
        if not one.state.is_final and one.state is not RolloutState.LIVE
    ]
    if open_:
        watch.breach("every-release-ends", f"{service} has {open_}")
    live = [one.n for one in rollouts if one.state is RolloutState.LIVE]
    if len(live) != 1:
        watch.breach("old-or-new", f"{service} has live {live}")
    known = max((max(one.release, one.considered) for one in rollouts), default=0)
    newest = max((one.n for one in _entering(watch, service)), default=0)
    if known < newest:
        watch.breach("every-release-ends", f"release {newest} of {service} was never looked at")


def _entering(watch: Watch, service: str) -> list[Release]:
    """Releases that come to a service: all in the first environment, later what is live in the one before."""
    name, environment, plain = service.split("/")
    releases = watch.all(Release, f"{name}/{plain}/")
    project = watch.one(Project, name)
    first = project.environment_before(environment) if project else None
    if first is None:
        return releases
    staged = watch.all(Rollout, f"{name}/{first}/{plain}/")
    live = {one.digest for one in staged if one.state is RolloutState.LIVE}
    return [one for one in releases if one.digest in live]


def _agrees(around: Surroundings, service: str) -> None:
    """Weights, replicas and processes are those of the one live rollout."""
    watch = around.watch
    live = next((r for r in watch.all(Rollout, f"{service}/") if r.state is RolloutState.LIVE), None)
    route = watch.one(Route, service)
    if live is None or route is None:
        return
    serving = around.envoy.weights.get(service)
    if route.weights != {live.n: 100} or route.acked != {live.n: 100} or serving != {live.cluster: 100}:
        said = f"{service}: {live.n} is live, wanted {route.weights}, acked {route.acked}, served {serving}"
        watch.breach("desired-is-observed", said)
    count = wanted_replicas(live.spec.replicas, watch.one(ScaleTarget, service))
    wanted = {Replica(service=service, rollout=live.n, index=i).key for i in range(count)}
    running = {key: life for key, life in around.machine.lives.items() if key.startswith(f"{service}/")}
    records = {one.key: one for one in watch.all(Replica, f"{service}/")}
    if set(running) != wanted or set(records) != wanted:
        said = f"{service} wants {sorted(wanted)}, runs {sorted(running)}, records {sorted(records)}"
        watch.breach("desired-is-observed", said)
        return
    for key in sorted(wanted):
        life, record = running[key], records[key]
        pid = record.identity.pid if record.identity else None
        if not life.serves or not record.ready or pid != life.pid:
            watch.breach("desired-is-observed", f"{key} runs {life}, recorded {record}")
