"""Ship: plan, apply, deploy, rollback, restart."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from poise.api.asks import GiveOrder
from poise.api.views import Created, Plan
from poise.cli import output
from poise.cli.client import Client
from poise.cli.observe import service_path
from poise.cli.place import COMMON, Common, declared_in, project_of, service_key, text_of
from poise.model.delivery import Verb
from poise.model.errors import Invalid

SPEC = Path("poise.yaml")


def plan(file: Path = SPEC, *, common: Common = COMMON) -> None:
    """What applying poise.yaml would create, change or delete; then the drift there is. Changes nothing."""
    from poise.cli.drift import show, standing

    made = _plan(file, common)
    if common.json:
        return output.data(made)
    _show(made)
    if found := standing(common):
        show(found)
    return None


def apply(file: Path = SPEC, *, common: Common = COMMON) -> None:
    """Make what poise.yaml declares be so (services, objectives, policy)."""
    made = _plan(file, common)
    if not common.json:
        _show(made)
    path = f"/api/v1/projects/{project_of(common, file.parent)}/spec"
    with Client(common) as client:
        done = client.put(path, _body(file, common), Created, if_match=made.etag)
    output.data(done) if common.json else output.say(done.sentence)


def _plan(file: Path, common: Common) -> Plan:
    with Client(common) as client:
        path = f"/api/v1/projects/{project_of(common, file.parent)}/plan"
        return client.post(path, _body(file, common), Plan)


def _body(file: Path, common: Common) -> dict[str, object]:
    """The spec, with those of the files it names that there are; the server tells of the others."""
    text = text_of(file)
    files: dict[str, str] = {}
    with suppress(Invalid):  # the server says what is wrong
        declared_in(file, common, files)
    return {"text": text, "filename": str(file), "files": files}


def _show(made: Plan) -> None:
    for one in made.differences:
        sign = {"create": "+", "delete": "-"}.get(one.action, "~")
        output.say(f"{sign} {one.kind} {one.key}")
        for field, (before, after) in one.fields.items():
            output.say(f"    {field}: {before} -> {after}")
    for note in made.notes:
        output.say(f"note: {note}")
    output.say(made.sentence)


Reason = Annotated[str, Parameter(help="Why; kept in the journal.")]


def deploy(
    service: str,
    *,
    release: Annotated[int | None, Parameter(help="Which release; the newest by default.")] = None,
    reason: Reason = "deployed by hand",
    plan: Annotated[
        bool, Parameter(negative="", help="Only say what would happen: verdict, steps, what holds it.")
    ] = False,
    common: Common = COMMON,
) -> None:
    """Roll a release out; it passes the gate like any other."""
    if plan:
        from poise.cli.preview import show

        return show(service, release, common)
    return _order(service, Verb.DEPLOY, reason, common, release=release)


def rollback(
    service: str,
    *,
    release: Annotated[int | None, Parameter(help="To which release; the one before by default.")] = None,
    reason: Reason = "rolled back by hand",
    common: Common = COMMON,
) -> None:
    """Back to the release that was live before. Always allowed."""
    _order(service, Verb.ROLLBACK, reason, common, release=release)


def restart(service: str, *, reason: Reason = "restarted by hand", common: Common = COMMON) -> None:
    """Restart the replicas of a service, one after another."""
    _order(service, Verb.RESTART, reason, common)


def promote(service: str, *, reason: Reason = "promoted by hand", common: Common = COMMON) -> None:
    """Let the rollout under way take all users in one step; the gate must still let it."""
    _order(service, Verb.PROMOTE, reason, common)


def abort(service: str, *, reason: Reason = "aborted by hand", common: Common = COMMON) -> None:
    """End the rollout under way; users go back to the live release."""
    _order(service, Verb.ABORT, reason, common)


def pause(service: str, *, reason: Reason = "paused by hand", common: Common = COMMON) -> None:
    """Keep the rollout under way at its present weight."""
    _order(service, Verb.PAUSE, reason, common)


def resume(service: str, *, reason: Reason = "resumed by hand", common: Common = COMMON) -> None:
    """Let a paused rollout go on."""
    _order(service, Verb.RESUME, reason, common)


def _order(service: str, verb: Verb, reason: str, common: Common, release: int | None = None) -> None:
    key = service_key(common, service)
    with Client(common) as client:
        path = service_path(key) + "/orders"
        done = client.post(path, GiveOrder(verb=verb, reason=reason, release=release), Created)
    output.data(done) if common.json else output.say(done.sentence)
