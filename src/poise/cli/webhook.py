"""Webhooks: forges that tell of pushes, and sinks that are told of events."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from poise.api.views import Created
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, project_of
from poise.model.exchange import Forge

webhook = App(name="webhook", help="Forges that tell of pushes; sinks that are told of events.")

_NEXT = {
    Forge.GITHUB: "In GitHub: Settings, Webhooks, Add webhook; application/json; pushes and pull requests.",
    Forge.GITLAB: "In GitLab: Settings, Webhooks; as secret or signing token; push and merge request events.",
    Forge.GITEA: "In Gitea: Settings, Webhooks, Add webhook, Gitea; POST, JSON; pushes and pull requests.",
    Forge.FORGEJO: "In Forgejo: Settings, Webhooks, Add webhook; POST, JSON; pushes and pull requests.",
}


@webhook.command
def add(
    forge: Forge,
    *,
    remote: Annotated[str, Parameter(help="Where to fetch from; without it pushes are only recorded.")] = "",
    branch: Annotated[str, Parameter(help="The branch to follow; every one by default.")] = "",
    credential: Annotated[str, Parameter(help="USER:PASSWORD of a private remote; sealed.")] = "",
    common: Common = COMMON,
) -> None:
    """Believe a forge: prints the URL and the secret to give to it, once."""
    body = {"forge": forge.value, "remote": remote, "branch": branch, "credential": credential}
    with Client(common) as client:
        made = client.post(_path(common, "hooks"), body, dict[str, Any])
    if common.json:
        return output.data(made)
    output.say(f"URL     {made['url']}")
    output.say(f"Secret  {made['secret']}")
    output.talk(common, made["sentence"], _NEXT[forge])
    return None


@webhook.command(name="list")
def list_(*, common: Common = COMMON) -> None:
    """The forges that are believed, and what happens on a push."""
    with Client(common) as client:
        items = _items(client, _path(common, "hooks"))
    if common.json:
        return output.data(items)
    rows = [
        (one["forge"], one["remote"] or "recorded only", one["branch"] or "every branch", one["by"])
        for one in items
    ]
    output.table(("FORGE", "REMOTE", "BRANCH", "BY"), rows)
    return None


@webhook.command
def remove(forge: Forge, *, common: Common = COMMON) -> None:
    """Believe a forge no more."""
    with Client(common) as client:
        done = client.delete(_path(common, f"hooks/{forge.value}"), Created)
    output.data(done) if common.json else output.say(done.sentence)


@webhook.command
def sinks(*, common: Common = COMMON) -> None:
    """Where events are sent (``events:`` in poise.yaml), with each receiver's secret."""
    with Client(common) as client:
        items = _items(client, _path(common, "sinks"))
    if common.json:
        return output.data(items)
    rows = [(one["url"], str(one["told_up_to"]), str(one["under_way"]), one["secret"]) for one in items]
    output.table(("SINK", "TOLD UP TO", "UNDER WAY", "SECRET"), rows)
    return None


def _items(client: Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(path, dict[str, Any])["items"]
    return found


def _path(common: Common, what: str) -> str:
    return f"/api/v1/projects/{project_of(common)}/{what}"
