"""What stands on a service's page besides its budget: settings, replicas, its other environments."""

from __future__ import annotations

from poise.api.parts import Parts
from poise.api.queries import may_see
from poise.api.settings import CONFIG, SECRET, settings_of
from poise.api.views import ServiceStatus
from poise.model.access import Principal
from poise.model.config import Config, Secret
from poise.model.fleet import Replica
from poise.model.service import Project, Service
from poise.web import service_views


async def settings_view(parts: Parts, key: str) -> service_views.SettingsView:
    """Config and secrets at their newest versions; values of config only, and masked."""
    config = await settings_of(parts, CONFIG, key, None, "", 1)
    secret = await settings_of(parts, SECRET, key, None, "", 1)
    newest = (
        (await parts.store.get(Config, f"{key}/{config.n:06d}"))[0],
        (await parts.store.get(Secret, f"{key}/{secret.n:06d}"))[0],
    )
    last = max((one for one in newest if one is not None), key=lambda one: one.at, default=None)
    return service_views.SettingsView(
        config=config.n,
        config_live=config.live,
        secret=secret.n,
        secret_live=secret.live,
        changed_at=last.at if last else None,
        changed_by=last.by if last else "",
        reason=parts.masker.text(last.reason) if last else "",
        rows=tuple(
            service_views.SettingRow(
                name=one.name,
                value=None if one.value is None else parts.masker.text(one.value),
                changed_in=one.changed_in,
            )
            for one in (*config.items, *secret.items)
        ),
    )


def capacity_view(one: ServiceStatus) -> service_views.CapacityView:
    """The scale target with its reason, and each replica with what it uses."""
    used = {(usage.rollout, usage.index): usage for usage in one.usage}
    releases = {found.n: f"r{found.release}" for found in (one.live, one.active) if found is not None}

    def row(replica: Replica) -> service_views.ReplicaRow:
        usage = used.get((replica.rollout, replica.index))
        return service_views.ReplicaRow(
            release=releases.get(replica.rollout, f"rollout {replica.rollout}"),
            index=replica.index,
            word=_state(replica),
            failing=bool(replica.failures) and not replica.ready,
            cpu_ratio=usage.cpu_ratio if usage else None,
            memory_bytes=usage.memory_bytes if usage else None,
            restarts=replica.restarts,
        )

    return service_views.CapacityView(
        wanted=one.replicas_wanted,
        min=one.service.replicas.min,
        max=one.service.replicas.max,
        reason=one.target.reason.rstrip(".") if one.target else "",
        withheld=one.target.withheld if one.target else "",
        rows=tuple(row(replica) for replica in one.replicas),
    )


def _state(replica: Replica) -> str:
    if replica.draining:
        return "draining"
    if replica.ready:
        return "ready"
    return "failing" if replica.failures else "starting"


async def environments(parts: Parts, declared: Service) -> tuple[service_views.EnvironmentLink, ...]:
    """The same service in each environment that has it, in the order in which a release passes."""
    project, _ = await parts.store.get(Project, declared.project)
    found = []
    for name in (project or Project(name=declared.project)).environments:
        key = f"{declared.project}/{name}/{declared.name}"
        if (await parts.store.get(Service, key))[0] is not None:
            found.append(service_views.EnvironmentLink(name=name, key=key, here=name == declared.environment))
    return tuple(found)


async def places(parts: Parts, asker: Principal) -> tuple[str, ...]:
    """``project/environment`` of all projects that the asker may see, each in its project's order."""
    known, _ = await parts.store.scan(Project)
    seen = [one for one in known if may_see(asker, one.name)]
    return tuple(f"{one.name}/{environment}" for one in seen for environment in one.environments)
