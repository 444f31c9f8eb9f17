"""The page behind the signed acknowledge link: what it is about and one button, without any script.

Opening it changes nothing, so that what looks ahead at links in mails acknowledges nothing.
"""

from __future__ import annotations

from typing import Annotated, Any

import htpy as h
from litestar import MediaType, Request, Response, get, post
from litestar.params import PathParameter

from poise.api import ack
from poise.api.access import PUBLIC
from poise.api.read import parts_of
from poise.model.errors import PoiseError
from poise.web.parts import card, document, headline, link, pill
from poise.web.views import Chrome

Asked = Request[Any, Any, Any]
Token = Annotated[str, PathParameter(min_length=1, max_length=2000)]
OPT: dict[str, Any] = {"permission": PUBLIC, "page": True}


@get("/ack/{token:str}", opt=OPT, media_type=MediaType.HTML)
async def ask(request: Asked, token: Token) -> Response[str]:
    """What would be acknowledged. Changes nothing."""
    return await _answer(request, ack.look(parts_of(request), token))


@post("/ack/{token:str}", opt=OPT, media_type=MediaType.HTML, status_code=200)
async def answer(request: Asked, token: Token) -> Response[str]:
    """Acknowledge; the second time it says who did."""
    return await _answer(request, ack.acknowledge(parts_of(request), token))


async def _answer(request: Asked, seen: Any) -> Response[str]:
    chrome = Chrome(at=parts_of(request).clock.now())
    try:
        page, status = shown(chrome, await seen), 200
    except PoiseError as error:
        page, status = refused(chrome, error), error.http_status
    headers = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
    return Response(page, status_code=status, media_type=MediaType.HTML, headers=headers)


def shown(chrome: Chrome, seen: ack.Acknowledging) -> str:
    """What it is about in a few facts, and the button while it is of use."""
    tone = pill("done", "go") if seen.done else pill(seen.severity, "hold")
    main = h.fragment[
        headline(seen.title, None, tone, seen.sentence),
        card("What it is about", h.dl[((h.dt[name], h.dd[text]) for name, text in seen.facts)]),
        None
        if seen.done
        else h.form(".stack", method="post")[
            h.div(".buttons")[h.button(".primary", type="submit")[f"Acknowledge as {seen.person}"]]
        ],
        seen.href and h.p["It is decided on ", link("the page of the service", seen.href), "."],
    ]
    return document(chrome, seen.title, main)


def refused(chrome: Chrome, error: PoiseError) -> str:
    """Why the link does not help, in plain words, and what does."""
    main = h.fragment[
        headline("This link does not help", None, pill("refused", "hold"), f"{error.what.capitalize()}."),
        card("Why, and what to do", h.p[error.why], h.p[error.mend]),
    ]
    return document(chrome, "Link refused", main)


ROUTES = [ask, answer]
