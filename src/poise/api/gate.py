"""The gate over HTTP: asked, overridden, approved; and in the shapes that Flagger and Argo Rollouts read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta, Struct

from poise.api import queries
from poise.api.asks import Approve, AskGate, AskGrant, DecideGrant, MakeOverride
from poise.api.idempotency import create_once
from poise.api.params import Number, Part
from poise.api.parts import Parts
from poise.api.read import one_of, parts_of
from poise.api.views import Created
from poise.balance.gate.controller import check, standing_of
from poise.balance.gate.permits import approve_override, ask_grant, decide_grant, make_override
from poise.balance.gate.standing import PolicyStanding
from poise.model.balance import Verdict, VerdictKind, verdict_key
from poise.model.delivery import ChangeClass
from poise.model.errors import Invalid
from poise.model.record import Decision

_SERVICE = "/api/v1/projects/{project:str}/environments/{environment:str}/services/{service:str}"
_METADATA_KEYS = 50
_Said = Annotated[str, Meta(max_length=1000)]
Asked = Request[Any, Any, Any]
ClassQuery = Annotated[ChangeClass, QueryParameter(name="class")]
DigestQuery = Annotated[str, QueryParameter(max_length=100)]


class FlaggerCall(Struct, frozen=True, kw_only=True):
    """What Flagger sends to a webhook. Source: fluxcd/flagger docs/gitbook/usage/webhooks.md.

    ``metadata`` may say ``class`` (feature, fix, security, rollback) and ``digest``.
    """

    name: Annotated[str, Meta(max_length=253)]
    namespace: Annotated[str, Meta(max_length=253)] = ""
    phase: Annotated[str, Meta(max_length=100)] = ""
    checksum: Annotated[str, Meta(max_length=100)] = ""
    buildId: Annotated[str, Meta(max_length=200)] = ""
    metadata: Annotated[
        dict[str, Annotated[str, Meta(max_length=1000)]], Meta(max_length=_METADATA_KEYS)
    ] = {}


class Measured(Struct, frozen=True, kw_only=True):
    """A verdict as a metric: ``value`` 1 for go and slow, 0 for hold.

    Argo Rollouts' ``web`` provider reads it with ``jsonPath: "{$.value}"`` and
    ``successCondition: "result == 1"``. ``left_ratio`` is the worst budget's, None where nobody knows it.
    """

    value: int
    kind: VerdictKind
    level: str
    sentence: str
    max_weight_percent: int
    bake_factor: float
    left_ratio: float | None


@post(_SERVICE + "/gate", opt={"permission": "viewer"}, status_code=200)
async def ask_gate(
    request: Asked, project: Part, environment: Part, service: Part, data: JSONBody[AskGate]
) -> Verdict:
    """The gate's answer now, the same that a rollout's step would get; nothing is written."""
    return await _asked(request, f"{project}/{environment}/{service}", data.change_class, data.digest)


@post(_SERVICE + "/gate/flagger", opt={"permission": "viewer"}, status_code=200)
async def ask_for_flagger(
    request: Asked, project: Part, environment: Part, service: Part, data: JSONBody[FlaggerCall]
) -> Response[Measured]:
    """Flagger's confirm-rollout and confirm-traffic-increase: 200 goes on, 409 waits."""
    said = data.metadata.get("class", ChangeClass.FEATURE.value)
    if said not in set(ChangeClass):
        raise Invalid(
            "POISE-E430", f"'{said[:60]}' is no class of change", where="metadata.class",
            why=f"Classes: {', '.join(ChangeClass)}.", mend="Edit the webhook's metadata in the Canary.",
        )  # fmt: skip
    key = f"{project}/{environment}/{service}"
    verdict = await _asked(request, key, ChangeClass(said), data.metadata.get("digest"))
    return Response(_measured(verdict), status_code=409 if verdict.kind is VerdictKind.HOLD else 200)


@get(_SERVICE + "/gate/argo", opt={"permission": "viewer"})
async def ask_for_argo(
    request: Asked,
    project: Part,
    environment: Part,
    service: Part,
    change_class: ClassQuery = ChangeClass.FEATURE,
    digest: DigestQuery = "",
) -> Measured:
    """A measured value for Argo Rollouts' web metric; a hold is a value, not an error."""
    key = f"{project}/{environment}/{service}"
    return _measured(await _asked(request, key, change_class, digest or None))


@get(_SERVICE + "/policy", opt={"permission": "viewer"})
async def get_policy(request: Asked, project: Part, environment: Part, service: Part) -> PolicyStanding:
    """The policy in force, the level of the service, and everything that moves or moved it."""
    parts, key = parts_of(request), f"{project}/{environment}/{service}"
    await queries.service_or_raise(parts, key)
    return await standing_of(parts.store, key, parts.clock.now(), signing_key=parts.signing_key)


@get(_SERVICE + "/rollouts/{n:int}/verdicts/{ask:int}", opt={"permission": "viewer"})
async def get_verdict(
    request: Asked, project: Part, environment: Part, service: Part, n: Number, ask: Number
) -> Response[Verdict]:
    """One verdict with the inputs that re-derive it."""
    key = verdict_key(f"{project}/{environment}/{service}/{n:06d}", ask)
    return await one_of(parts_of(request), Verdict, key)


@post(_SERVICE + "/overrides", opt={"permission": "operator", "once": True})
async def override_gate(
    request: Asked, project: Part, environment: Part, service: Part, data: JSONBody[MakeOverride]
) -> Created:
    """A signed, expiring decision against the gate; where there is another operator, it waits for them."""
    key, reason = f"{project}/{environment}/{service}", _masked(request, data.reason)
    await queries.service_or_raise(parts_of(request), key)
    return await _decided(
        request, key, data, make_override, reason=reason, for_s=data.expires_s, digest=data.digest
    )


@post(_SERVICE + "/overrides/{n:int}/approval", opt={"permission": "operator", "once": True})
async def second_override(
    request: Asked, project: Part, environment: Part, service: Part, n: Number, data: JSONBody[Approve]
) -> Created:
    """The second person's agreement to an override."""
    key, reason = f"{project}/{environment}/{service}", _masked(request, data.reason or "")
    return await _decided(request, key, data, approve_override, n=n, reason=reason)


@post(_SERVICE + "/grants", opt={"permission": "developer", "once": True})
async def make_grant(
    request: Asked, project: Part, environment: Part, service: Part, data: JSONBody[AskGrant]
) -> Created:
    """Ask for an approval, an exemption or a ruling."""
    key, reason = f"{project}/{environment}/{service}", _masked(request, data.reason)
    await queries.service_or_raise(parts_of(request), key)
    return await _decided(
        request, key, data, ask_grant, kind=data.kind, reason=reason, for_s=data.expires_s,
        digest=data.digest, cause=data.cause,
    )  # fmt: skip


@post(_SERVICE + "/grants/{n:int}/decision", opt={"permission": "viewer", "once": True})
async def settle_grant(
    request: Asked, project: Part, environment: Part, service: Part, n: Number, data: JSONBody[DecideGrant]
) -> Created:
    """Allow or refuse what somebody asked for; only those whom the policy or their role names may."""
    key, reason = f"{project}/{environment}/{service}", _masked(request, data.reason)
    return await _decided(request, key, data, decide_grant, n=n, allowed=data.allowed, reason=reason)


async def _decided(
    request: Asked, key: str, data: Struct, decide: Callable[..., Awaitable[Decision]], **asked: Any
) -> Created:
    """What the asker said, as the gate's room decides it, once."""
    parts = parts_of(request)

    async def make() -> tuple[Decision, Created]:
        decision = await decide(
            parts.store, signing_key=parts.signing_key, service_key=key, by=request.scope["user"].name,
            now=parts.clock.now(), **asked,
        )  # fmt: skip
        return decision, Created(key=decision.writes[0].key, sentence=decision.events[0].summary)

    return await create_once(request, parts, data, Created, make)


def _masked(request: Asked, reason: str) -> str:
    return parts_of(request).masker.text(reason)  # before it is signed


async def _asked(request: Asked, key: str, change_class: ChangeClass, digest: str | None) -> Verdict:
    parts: Parts = parts_of(request)
    await queries.service_or_raise(parts, key)
    now = parts.clock.now()
    return await check(parts.store, key, change_class, digest, now, signing_key=parts.signing_key)


def _measured(verdict: Verdict) -> Measured:
    budgets = verdict.inputs.get("budgets", ())
    lefts = [one["left_ratio"] for one in budgets if one["left_ratio"] is not None]
    return Measured(
        value=0 if verdict.kind is VerdictKind.HOLD else 1,
        kind=verdict.kind,
        level=verdict.level.value,
        sentence=verdict.sentence,
        max_weight_percent=verdict.max_weight_percent,
        bake_factor=verdict.bake_factor,
        left_ratio=min(lefts, default=None),
    )


ROUTES = [
    ask_gate, ask_for_flagger, ask_for_argo, get_policy, get_verdict, override_gate, second_override,
    make_grant, settle_grant,
]  # fmt: skip
