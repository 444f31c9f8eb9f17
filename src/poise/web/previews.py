"""What a service looks like on branches: each at its own address, for a while."""

from __future__ import annotations

import htpy as h

from poise.api import queries
from poise.api.parts import Parts
from poise.model.branch_preview import PreviewState
from poise.model.service import Service
from poise.web import links
from poise.web.parts import card, link, table
from poise.web.service_views import PreviewRow
from poise.web.wording import moment


async def preview_rows(parts: Parts, declared: Service) -> tuple[PreviewRow, ...]:
    """The previews of a service that are not stopped."""
    running = await queries.running_previews(parts, f"{declared.project}/")
    found = [queries.preview_status(parts, one) for one in running if one.service == declared.name]
    return tuple(
        PreviewRow(
            branch=one.branch,
            commit=one.commit,
            state=one.state.value,
            address=one.address,
            sentence=one.sentence,
            logs=links.logs(one.key),
            until=one.until,
            failed=one.state is PreviewState.FAILED,
        )
        for one in found
    )


def _address(row: PreviewRow) -> h.Node:
    """A link out of this server: to a host that Poise itself has named."""
    return h.a(href=row.address, rel="noreferrer")[row.branch] if row.address else row.branch


def previews_card(rows: tuple[PreviewRow, ...]) -> h.Element | None:
    """The card of a service's branch previews; none where there are none."""
    if not rows:
        return None
    shown = [
        (
            [
                _address(row),
                " ",
                link("logs", row.logs, "mute"),
            ],
            h.span(".mono")[row.commit[:8]],
            h.span(class_="bad" if row.failed else None)[row.state],
            moment(row.until, "minute"),
        )
        for row in rows
    ]
    return card(
        "Branch previews",
        table("Branch previews", ("branch", "commit", "state", "until"), shown, "llll"),
        h.ul(".mute.notes")[(h.li[f"{row.sentence}."] for row in rows if row.failed)]
        if any(row.failed for row in rows)
        else None,
        id="previews",
    )
