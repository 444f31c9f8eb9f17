"""What is wanted under a key, as fleet reads it: a service with its rollouts, or a branch preview."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from poise.model.branch_preview import BranchPreview, is_branch_preview
from poise.model.delivery import Rollout
from poise.model.fleet import Route
from poise.model.record import Read
from poise.model.service import Service
from poise.ports.store import Store

ROLLOUTS_SEEN: Final = 200


async def wanted_under(store: Store, key: str) -> tuple[Service | None, list[Rollout], tuple[Read, ...]]:
    """The service of ``key`` (None: none is declared, or nothing of it shall run), its newest rollouts, and
    what was read for it.
    """
    if is_branch_preview(key):
        preview, ref = await store.get(BranchPreview, key)
        return (None, [], (ref,)) if preview is None else (preview.declared, [*preview.rollouts], (ref,))
    service, service_ref = await store.get(Service, key)
    rollouts, rollouts_ref = await store.scan(Rollout, f"{key}/", limit=ROLLOUTS_SEEN, last=True)
    return service, rollouts, (service_ref, rollouts_ref)


async def rollout_of(store: Store, key: str) -> Rollout | None:
    """One rollout by its key."""
    if not is_branch_preview(key):
        return (await store.get(Rollout, key))[0]
    _, rollouts, _ = await wanted_under(store, key.rpartition("/")[0])
    return next((one for one in rollouts if one.key == key), None)


async def rollouts_of(store: Store, routes: Iterable[Route]) -> dict[str, list[Rollout]]:
    """The newest rollouts of every service that has a route."""
    return {route.service: (await wanted_under(store, route.service))[1] for route in routes}


async def called_by(store: Store, rollout: Rollout, name: str) -> str:
    """The key of the service ``name`` that a replica of ``rollout`` calls.

    A branch preview calls the one of its own branch, and where that has none, what is live in the
    environment whose declarations it was started by.
    """
    beside = f"{rollout.project}/{rollout.environment}/{name}"
    if is_branch_preview(beside):
        preview, _ = await store.get(BranchPreview, beside)
        if preview is None or preview.declared is None:
            return f"{rollout.project}/{rollout.spec.environment}/{name}"
    return beside
