"""Post-mortems: list, show, export, edit, publish, and the actions that were agreed on."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from poise.api.views import Created, Page
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, project_of, text_of
from poise.model.errors import Invalid, PoiseError
from poise.model.review import Action, ActionKind, Priority, Review

postmortem = App(name="postmortem", help="What incidents taught: drafts from the record, finished by people.")
action = App(name="action", help="What will be done, by whom, until when. (add, replace, done)")
postmortem.command(action)

N = Annotated[int, Parameter(help="The incident's number.")]
A = Annotated[int, Parameter(help="The action's number.")]
What = Annotated[str, Parameter(help="What will be done.")]
Kind = Annotated[ActionKind, Parameter(help="What it is for.")]
Owner = Annotated[str, Parameter(help="Who does it.")]
Due = Annotated[str, Parameter(help="Until when: a day (2026-12-07) or an instant with its offset.")]
How = Annotated[Priority, Parameter(help="How soon; p0 goes before any feature.")]
Verify = Annotated[str, Parameter(help="How one will know that it worked.")]


def _path(common: Common, rest: str = "") -> str:
    return f"/api/v1/projects/{project_of(common)}/reviews{rest}"


def _tell(done: Created, common: Common) -> None:
    output.data(done) if common.json else output.say(done.sentence)


@postmortem.command(name="list")
def list_all(*, common: Common = COMMON) -> None:
    """Every review, the newest last."""
    found, cursor = list[Review](), ""
    with Client(common) as client:
        while True:
            page = client.get(_path(common), Page[Review], cursor=cursor)
            found += page.items
            if page.next is None:
                break
            cursor = page.next
    if common.json:
        return output.data(found)
    if not found:
        return output.say("No review yet: one is drafted when an incident is resolved.")
    now = datetime.now(UTC)
    output.table(("incident", "state", "actions", "what"), [_row(one, now) for one in found])
    return None


def _number(review: Review) -> int:
    return int(review.key.rpartition("/")[2])


def _row(one: Review, now: datetime) -> tuple[str, ...]:
    left = sum(each.done_at is None for each in one.actions)
    overdue = sum(each.is_overdue(now) for each in one.actions)
    actions = f"{left} of {len(one.actions)} to do" if one.actions else "none"
    return (
        str(_number(one)), one.state, actions + (f", {overdue} overdue" if overdue else ""),
        one.title.partition(": ")[2] or one.title,
    )  # fmt: skip


@postmortem.command
def show(n: N, *, common: Common = COMMON) -> None:
    """One review: how long it took, its text, its actions."""
    with Client(common) as client:
        found = client.get(_path(common, f"/{n}"), Review)
    if common.json:
        return output.data(found)
    times = (
        ("detected", found.ttd_s), ("acknowledged", found.tta_s), ("mitigated", found.ttm_s),
        ("resolved", found.ttr_s),
    )  # fmt: skip
    told = ", ".join(f"{name} after {value:.0f} s" for name, value in times if value is not None)
    output.say(f"{found.title} ({found.state}); {told or 'no time is known'}.")
    if found.budget_spent_ratio is not None:
        output.say(f"  It spent {output.percent(found.budget_spent_ratio)} of the period's budget.")
    output.say(f"\n{found.text.rstrip()}\n")
    now = datetime.now(UTC)
    for one in found.actions:
        output.say(f"{_state(one, now)} {one.n} ({one.priority}, {one.kind}, {one.owner}): {one.text}")
        output.say(f"    known to work by: {one.verification}")
    if not found.actions:
        output.say(
            f"No action yet: poise postmortem action add {n} 'WHAT' --kind prevent --owner NAME "
            "--due DAY --verify 'HOW'"
        )
    return None


def _state(one: Action, now: datetime) -> str:
    if one.done_at is not None:
        return f"[done {one.done_at:%Y-%m-%d}]"
    return f"[{'OVERDUE since' if one.is_overdue(now) else 'due'} {one.due_at:%Y-%m-%d}]"


@postmortem.command
def export(
    n: N,
    *,
    to: Annotated[Path | None, Parameter(help="The file; stdout by default.")] = None,
    common: Common = COMMON,
) -> None:
    """Its Markdown with the actions that were agreed on."""
    with Client(common) as client:
        text, _ = client.text(_path(common, f"/{n}/text"), actions=True)
    if to is None:
        return output.data({"text": text}) if common.json else output.say(text.rstrip("\n"))
    to.write_text(text)
    if common.json:
        return output.data({"path": str(to.absolute()), "characters": len(text)})
    return output.say(f"Wrote {to}.")


@postmortem.command
def edit(
    n: N,
    *,
    from_file: Annotated[
        Path | None, Parameter(help="Take the text from a file; else $EDITOR opens.")
    ] = None,
    common: Common = COMMON,
) -> None:
    """Write its text; from then on no draft replaces it."""
    given = text_of(from_file) if from_file is not None else None
    with Client(common) as client:
        before, etag = client.text(_path(common, f"/{n}/text"))
        kept = _edited(n, before) if given is None else None
        text = text_of(kept) if kept is not None else given or ""
        if text == before:
            done = Created(key="", sentence="Nothing has changed.")
        else:
            done = _put(client, _path(common, f"/{n}/text"), text, etag, kept)
    if kept is not None:
        kept.unlink(missing_ok=True)
        kept.parent.rmdir()
    _tell(done, common)


def _put(client: Client, path: str, text: str, etag: str, kept: Path | None) -> Created:
    """Write; what was typed is not lost where the server refuses it."""
    try:
        return client.put(path, {"text": text}, Created, if_match=etag)
    except PoiseError as error:
        if kept is not None:
            error.mend = f"{error.mend} Your text is in {kept}".strip()
        raise


def _edited(n: int, text: str) -> Path:
    """A file of the person's own, as their editor left it."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise Invalid(
            "POISE-E650", "no editor is set", why="EDITOR names none.",
            mend=f"EDITOR=vi poise postmortem edit {n}",
        )  # fmt: skip
    path = Path(tempfile.mkdtemp(prefix="poise-")) / f"postmortem-{n}.md"
    path.write_text(text)
    done = subprocess.run([*shlex.split(editor), str(path)], check=False)
    if done.returncode != 0:
        raise PoiseError(
            "POISE-E651", f"{editor} ended with exit code {done.returncode}; nothing was written",
            where=str(path), mend=f"poise postmortem edit {n} --from-file {path}",
        )  # fmt: skip
    return path


@postmortem.command
def publish(n: N, *, common: Common = COMMON) -> None:
    """Say that all may read it; no draft replaces it any more."""
    with Client(common) as client:
        _tell(client.post(_path(common, f"/{n}/publish"), {}, Created), common)


@postmortem.command
def classify(
    n: N,
    outage_class: Annotated[str, Parameter(help="What kind of outage: a name of the team's own.")],
    *,
    common: Common = COMMON,
) -> None:
    """Name its class of outage; the budget policy adds each class up over a quarter."""
    with Client(common) as client:
        body = {"outage_class": outage_class}
        _tell(client.post(_path(common, f"/{n}/outage-class"), body, Created), common)


@action.command
def add(
    n: N, text: What, *, kind: Kind, owner: Owner, due: Due, verify: Verify, priority: How = Priority.P2,
    common: Common = COMMON,
) -> None:  # fmt: skip
    """Add an action."""
    body: dict[str, Any] = {"kind": kind, "text": text, "owner": owner, "due": due, "verification": verify}
    _set(n, body | {"priority": priority}, common)


@action.command
def replace(
    n: N, a: A, text: What, *, kind: Kind, owner: Owner, due: Due, verify: Verify,
    priority: How = Priority.P2, common: Common = COMMON,
) -> None:  # fmt: skip
    """Put another in the place of an action."""
    body: dict[str, Any] = {
        "n": a,
        "kind": kind,
        "text": text,
        "owner": owner,
        "due": due,
        "verification": verify,
    }
    _set(n, body | {"priority": priority}, common)


def _set(n: int, body: dict[str, Any], common: Common) -> None:
    with Client(common) as client:
        _tell(client.post(_path(common, f"/{n}/actions"), body, Created), common)


@action.command
def done(n: N, a: A, *, common: Common = COMMON) -> None:
    """Say that an action is done."""
    with Client(common) as client:
        _tell(client.post(_path(common, f"/{n}/actions/{a}/done"), {}, Created), common)
