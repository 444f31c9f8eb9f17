"""``poise previews``: what branches look like, each at its own address, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import quote

from cyclopts import App, Parameter

from poise.api.branch_previews import StopPreview
from poise.api.views import Created, Page, PreviewStatus
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, project_of
from poise.model.branch_preview import PreviewState
from poise.model.errors import NotFound

previews = App(name="previews", help="Branches at an address of their own. (list, stop)")
PAGES_MAX = 20


@previews.default
def list_(*, common: Common = COMMON) -> None:
    """Every branch preview: address, commit, state, and until when."""
    with Client(common) as client:
        found = _all(client, common)
    if common.json:
        return output.data(found)
    if not found:
        output.say(
            "No branch has a preview. In poise.yaml, in kind Project: previews: {branches: 'feature/*'}."
        )
        return None
    return show(found, common)


def show(found: Sequence[PreviewStatus], common: Common) -> None:
    """A row for each; below, why those that failed did."""
    rows = [
        (one.branch, one.service, one.state.value, one.commit[:8], _until(one), _address(one))
        for one in found
    ]
    output.table(("branch", "service", "state", "commit", "until", "address"), rows)
    for one in found:
        if one.state is PreviewState.FAILED:
            output.talk(common, f"{one.told} See: poise logs {one.key}, poise logs run {one.run}")


previews.command(list_, name="list")


@previews.command
def stop(
    branch: Annotated[str, Parameter(help="The branch, as it was pushed.")],
    *,
    reason: Annotated[str, Parameter(help="Why; kept in the journal.")] = "",
    common: Common = COMMON,
) -> None:
    """Stop the previews of a branch; the next push to it brings them back."""
    with Client(common) as client:
        found = _all(client, common)
        mine = next((one for one in found if branch in (one.branch, one.label)), None)
        if mine is None:
            raise NotFound(
                "POISE-E404", f"branch {branch!r} has no preview", where=project_of(common),
                why=f"There are: {', '.join(sorted({one.branch for one in found})) or 'none'}.",
                mend="See: poise previews",
            )  # fmt: skip
        path = f"{_path(common)}/{quote(mine.label, safe='')}/stop"
        done = client.post(path, StopPreview(reason=reason), Created)
    output.data(done) if common.json else output.say(done.sentence)


def _all(client: Client, common: Common) -> list[PreviewStatus]:
    found: list[PreviewStatus] = []
    cursor = ""
    for _ in range(PAGES_MAX):
        page = client.get(_path(common), Page[PreviewStatus], cursor=cursor, limit=500)
        found += page.items
        if page.next is None:
            break
        cursor = page.next
    return found


def _path(common: Common) -> str:
    return f"/api/v1/projects/{quote(project_of(common), safe='')}/previews"


def _address(one: PreviewStatus) -> str:
    """Where it is reached; of one that is stopped, why. Why one failed is told below the table."""
    return one.address or (one.sentence if one.state is PreviewState.STOPPED else "–")


def _until(one: PreviewStatus) -> str:
    return "–" if one.state is PreviewState.STOPPED else f"{one.until:%Y-%m-%d %H:%M}"
