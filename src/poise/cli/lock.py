"""Deploy locks: lock, unlock."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from cyclopts import Parameter

from poise.api.locks import LiftLock, PlaceLock
from poise.api.views import Created
from poise.cli import output
from poise.cli.client import Client
from poise.cli.observe import service_path
from poise.cli.place import COMMON, Common, project_of, service_key
from poise.model.errors import Invalid
from poise.model.service import Project

Place = Annotated[
    str, Parameter(help="An environment of the project, or a service (service/NAME where both have a name).")
]


def lock(
    place: Place,
    *,
    reason: Annotated[str, Parameter(help="Why; everybody who waits for it reads it.")],
    duration: Annotated[str, Parameter(name="--for", help="For how long, as 30m or 2h; at most 30d.")] = "8h",
    common: Common = COMMON,
) -> None:
    """Let nothing be rolled out for a while, neither features nor fixes; a rollback is always allowed."""
    from poise.spec.durations import parse_duration

    for_s = parse_duration(duration)
    if for_s is None:
        raise Invalid("POISE-B411", f"{duration!r} is not a duration", where="--for", mend="Use e.g. 2h.")
    _post(place, "lock", PlaceLock(reason=reason, expires_s=for_s), common)


def unlock(
    place: Place,
    *,
    reason: Annotated[str, Parameter(help="Why; kept in the journal.")] = "",
    common: Common = COMMON,
) -> None:
    """Lift a lock, whoever placed it; what waits asks the gate again at once."""
    _post(place, "unlock", LiftLock(reason=reason), common)


def _post(place: str, verb: str, body: PlaceLock | LiftLock, common: Common) -> None:
    with Client(common) as client:
        done = client.post(f"{_path(client, place, common)}/{verb}", body, Created)
    output.data(done) if common.json else output.say(done.sentence)


def _path(client: Client, place: str, common: Common) -> str:
    """Where it is: an environment by its name, else a service."""
    if "/" not in place:
        project = quote(project_of(common), safe="")
        known = client.get(f"/api/v1/projects/{project}", Project)
        if place in known.environments:
            return f"/api/v1/projects/{project}/environments/{quote(place, safe='')}"
    return service_path(service_key(common, place))
