"""What a service looks like on branches: each at its own address, for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import htpy as h

from poise.api import queries
from poise.api.parts import Parts
from poise.model.branch_preview import BranchPreview, PreviewState
from poise.model.service import Service
from poise.web import links
from poise.web.parts import card, link, popover_form, table
from poise.web.service_views import PreviewRow
from poise.web.views import Chrome
from poise.web.wording import moment

STOPPED_MAX: Final = 3  # of those that are stopped, the newest alone; `poise previews` lists all
_TOLD: Final = (PreviewState.FAILED, PreviewState.STOPPED)  # where the reason is what matters


async def preview_rows(parts: Parts, declared: Service) -> tuple[PreviewRow, ...]:
    """The previews of a service: those that are not stopped, then the few that were stopped last."""
    known, _ = await parts.store.scan(BranchPreview, f"{declared.project}/")
    mine = [one for one in known if one.service == declared.name]
    over = [one for one in mine if one.state is PreviewState.STOPPED]
    over.sort(key=lambda one: one.changed_at, reverse=True)
    return tuple(_row(parts, one) for one in (*(one for one in mine if one not in over), *over[:STOPPED_MAX]))


def _row(parts: Parts, one: BranchPreview) -> PreviewRow:
    status = queries.preview_status(parts, one)
    return PreviewRow(
        branch=status.branch,
        label=status.label,
        commit=status.commit,
        state=status.state,
        address=status.address,
        told=status.told,
        logs=links.logs(status.key),
        run=links.run(one.project, status.run),
        until=status.until,
        once=one.taken_at.isoformat(),
    )


def previews_card(rows: Sequence[PreviewRow], key: str, chrome: Chrome) -> h.Element | None:
    """The card of a service's branch previews; none where there are none. ``key`` is the service's."""
    if not rows:
        return None
    running = [row for row in rows if row.state is not PreviewState.STOPPED]
    head = ("branch", "state", *(("stop",) if chrome.may_say else ()))
    shown = [
        (_branch(row), _state(row), *((_stop(row, key, chrome),) if chrome.may_say else ()))
        for row in running
    ]
    told = [row for row in rows if row.state in _TOLD]
    return card(
        "Branch previews",
        table("Branch previews", head, shown) if running else h.p(".mute")["None runs now."],
        h.ul(".mute.notes")[(h.li[row.told] for row in told)] if told else None,
        id="previews",
    )


def _branch(row: PreviewRow) -> h.Node:
    """A link out of this server, to a host that Poise itself has named; its commit's run, and its logs."""
    name = h.a(href=row.address, rel="noreferrer")[row.branch] if row.address else row.branch
    return [h.p[name], h.p[link(row.commit[:8], row.run, "mono"), " ", link("logs", row.logs)]]


def _state(row: PreviewRow) -> h.Node:
    word = h.p(class_="bad" if row.state is PreviewState.FAILED else None)[row.state.value]
    return [word, h.p(".mute")["until ", moment(row.until, "minute")]]


def _stop(row: PreviewRow, key: str, chrome: Chrome) -> h.Node:
    return popover_form(
        chrome,
        f"stop-{row.label}",
        links.stop_previews(key, row.label),
        label="Stop",
        about=row.branch,
        accesskey="",
        explain=f"the previews of {row.branch}, of every service. A new commit to it brings them back.",
        hidden={"once": row.once},
    )
