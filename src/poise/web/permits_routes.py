"""What the forms of overrides and grants ask for, handed to the API's own routes."""

from __future__ import annotations

from typing import Any, Final

from litestar import post
from litestar.response import Redirect

from poise.api import access
from poise.api import gate as api
from poise.api.asks import Approve, AskGrant, DecideGrant, MakeOverride
from poise.api.params import Part
from poise.model.access import Role
from poise.model.errors import Invalid
from poise.web import forms, links
from poise.web.forms import Asked, Form

_PERMITS: Final = "/permits/{project:str}/{environment:str}/{service:str}"
_ANSWERS: Final = {"allow": True, "refuse": False}


@post(_PERMITS + "/ask", opt={"permission": "developer", "page": True})
async def ask(request: Asked, project: Part, environment: Part, service: Part, data: Form) -> Redirect:
    """An override (operators), an approval, an exemption or a dispute."""
    asked, place = forms.once(request, data), (project, environment, service)
    if data.get("kind") == "override":
        access.check(request.scope["user"], Role.OPERATOR, project)
        await api.override_gate.fn(asked, *place, forms.asked(data, MakeOverride))
    else:
        await api.make_grant.fn(asked, *place, forms.asked(data, AskGrant))
    return _back(place, data)


@post(_PERMITS + "/decide", opt={"permission": "viewer", "page": True})
async def decide(request: Asked, project: Part, environment: Part, service: Part, data: Form) -> Redirect:
    """A second person's answer. Whether this person may give it is the gate's to say."""
    asked, place = forms.once(request, data), (project, environment, service)
    number, answer = data.get("n", ""), _ANSWERS.get(data.get("answer", ""))
    if not number.isdecimal() or len(number) > 6 or answer is None:
        raise Invalid("POISE-E424", "the form names no wish, or no answer to it")
    said: dict[str, Any] = {**data, "allowed": answer}
    if data.get("what") == "override":
        access.check(request.scope["user"], Role.OPERATOR, project)
        if not answer:
            raise Invalid("POISE-E424", "an override is approved, or left to expire")
        reason = forms.asked(said, DecideGrant).reason  # a form wants one
        await api.second_override.fn(asked, *place, int(number), Approve(reason=reason))
    else:
        await api.settle_grant.fn(asked, *place, int(number), forms.asked(said, DecideGrant))
    return _back(place, data)


def _back(place: tuple[str, str, str], data: dict[str, str]) -> Redirect:
    key, rollout = "/".join(place), data.get("rollout", "")
    there = links.rollout(key, int(rollout)) if rollout.isdecimal() else links.service(key)
    return Redirect(f"{there}#permits", status_code=303)


ROUTES = [ask, decide]
