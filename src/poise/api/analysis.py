"""The analysis of a canary over HTTP: of Poise's own rollouts, and of one that somebody else rolls out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from litestar import Request, Response, get, post
from litestar.params import JSONBody
from msgspec import Meta, Struct
from msgspec.structs import replace

from poise.api import queries
from poise.api.gate import FlaggerCall
from poise.api.params import Number, Part
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.delivery.rollout.analysis import analysis
from poise.delivery.rollout.outside import Finding, Judgement, judged, readings_of
from poise.delivery.rollout.replay import Reading
from poise.engine.arms import Counters, grown
from poise.model.analysis import Analysis
from poise.model.delivery import Rollout
from poise.model.errors import Invalid, NotFound
from poise.model.service import Service
from poise.spec.durations import parse_duration

_SERVICE = "/api/v1/projects/{project:str}/environments/{environment:str}/services/{service:str}"
READINGS_MAX: Final = 10_000
WINDOW_MAX_S: Final = 86_400.0
_Query = Annotated[str, Meta(max_length=4096)]
_Count = Annotated[int, Meta(ge=0, le=10**12)]
Asked = Request[Any, Any, Any]


class Arm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arm's counters as PromQL selectors: all requests, and the bad or the good ones of them."""

    total: Annotated[str, Meta(min_length=1, max_length=4096)]
    bad: _Query = ""
    good: _Query = ""


class Answered(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What both arms answered since the entry before, ``at_s`` seconds from the start of the trial."""

    at_s: Annotated[float, Meta(ge=0, le=30 * WINDOW_MAX_S)]
    canary_requests: _Count
    canary_errors: _Count
    baseline_requests: _Count
    baseline_errors: _Count


class AskAnalysis(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Counters of both arms: by query at a data source of the project (else the embedded store), or sent.

    The trial begins at ``since``, else ``window_s`` ago: write selectors that only this canary's replicas
    have, and a window that is longer than its rollout. What is left out of ``alpha`` and
    ``relative_risk_max`` is the service's own. With ``target_ratio`` it may also prove that it keeps that.
    """

    canary: Arm | None = None
    baseline: Arm | None = None
    readings: Annotated[tuple[Answered, ...], Meta(max_length=READINGS_MAX)] = ()
    source: Annotated[str, Meta(max_length=100)] = ""
    since: datetime | None = None
    window_s: Annotated[float, Meta(ge=60, le=WINDOW_MAX_S)] = 3600.0
    step_s: Annotated[float, Meta(ge=1, le=300)] = 10.0
    alpha: Annotated[float, Meta(gt=0, lt=0.5)] | None = None
    relative_risk_max: Annotated[float, Meta(gt=1, le=1000)] | None = None
    target_ratio: Annotated[float, Meta(gt=0, lt=1)] | None = None


@get(_SERVICE + "/rollouts/{n:int}/analysis", opt={"permission": "viewer"})
async def get_analysis(
    request: Asked, project: Part, environment: Part, service: Part, n: Number
) -> Analysis:
    """What a rollout is judged by: every metric of both arms, with bounds that hold at any look."""
    key = f"{project}/{environment}/{service}/{n:06d}"
    found, _ = await parts_of(request).store.get(Rollout, key)
    return _told(found, key)


@get(_SERVICE + "/rollouts/latest/analysis", opt={"permission": "viewer"})
async def get_latest_analysis(request: Asked, project: Part, environment: Part, service: Part) -> Analysis:
    """The same of the newest rollout."""
    parts, key = parts_of(request), f"{project}/{environment}/{service}"
    await queries.service_or_raise(parts, key)
    newest = await queries.recent_rollouts(parts, key, limit=1)
    return _told(newest[0] if newest else None, f"of {key} yet")


def _told(rollout: Rollout | None, which: str) -> Analysis:
    if rollout is None:
        raise NotFound("POISE-E404", f"no rollout {which}", mend="Run: poise status")
    return analysis(rollout)


@post(_SERVICE + "/analysis", opt={"permission": "viewer"}, status_code=200)
async def judge_counters(
    request: Asked, project: Part, environment: Part, service: Part, data: JSONBody[AskAnalysis]
) -> Judgement:
    """What the counters of two arms say by now, at any look; nothing is written.

    ``value`` is 1 safe, 0 undecided, -1 harm: Argo Rollouts' ``web`` provider reads it by
    ``jsonPath: "{$.value}"``. A store that cannot be read is an error and no finding.
    """
    parts, key = parts_of(request), f"{project}/{environment}/{service}"
    return await _judged(parts, project, await queries.service_or_raise(parts, key), data)


@post(_SERVICE + "/analysis/flagger", opt={"permission": "viewer"}, status_code=200)
async def judge_for_flagger(
    request: Asked, project: Part, environment: Part, service: Part, data: JSONBody[FlaggerCall]
) -> Response[Judgement]:
    """The same for a webhook of Flagger: 200 where ``metadata.ask`` is so, else 409.

    ``no-harm`` (default; for ``rollout``): no harm is shown. ``harm`` (for ``rollback``, which goes back on
    200): it is. ``safe`` (for ``confirm-promotion``): the canary is proven safe. The trial of a revision, by
    its ``checksum``, begins with the first question about it.
    """
    parts, key = parts_of(request), f"{project}/{environment}/{service}"
    found = await queries.service_or_raise(parts, key)
    ask = data.metadata.get("ask", "no-harm")
    if ask not in _ASKS:
        raise _wrong("ask", f"'{ask[:60]}' is none of {', '.join(_ASKS)}")
    revision = f"{key}|{data.namespace}|{data.name}|{data.checksum}"
    since = parts.begun.since(revision, parts.clock.now())
    judgement = await _judged(parts, project, found, asked_by(data.metadata, since))
    return Response(judgement, status_code=200 if judgement.finding in _ASKS[ask] else 409)


def asked_by(metadata: dict[str, str], since: datetime) -> AskAnalysis:
    """A webhook's metadata, all of it text, as a question; ``Invalid`` names the key that cannot be read."""
    unknown = sorted(set(metadata) - _METADATA)
    if unknown:
        raise _wrong(unknown[0][:60], f"there is no such key; there are {', '.join(sorted(_METADATA))}")
    canary, baseline = _arm(metadata, "canary"), _arm(metadata, "baseline")
    step_s = 10.0
    if "step" in metadata:
        read = parse_duration(metadata["step"])
        if read is None or not 1 <= read <= 300:
            raise _wrong("step", "it is a duration of 1s to 5m")
        step_s = read
    alpha = None
    if "alpha" in metadata:
        alpha = _ratio("alpha", metadata["alpha"], 0.5)
    target = _ratio("target", metadata["target"], 1.0) if "target" in metadata else None
    source = metadata.get("source", "")[:100]
    return AskAnalysis(
        canary=canary, baseline=baseline, source=source, since=since, step_s=step_s, alpha=alpha,
        target_ratio=target,
    )  # fmt: skip


def _arm(metadata: dict[str, str], arm: str) -> Arm:
    said = {role: metadata.get(f"{arm}_{role}", "") for role in ("total", "bad", "good")}
    if not said["total"]:
        raise _wrong(f"{arm}_total", "it is missing")
    return Arm(**said)


def _ratio(key: str, text: str, below: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < below:
        raise _wrong(key, f"it is a number between 0 and {below:g}")
    return value


def _wrong(key: str, what: str) -> Invalid:
    return Invalid(
        "POISE-E444", f"metadata.{key}: {what}", where=f"metadata.{key}",
        mend="Edit the webhook's metadata in the Canary.",
    )  # fmt: skip


async def _judged(parts: Parts, project: str, service: Service, asked: AskAnalysis) -> Judgement:
    strategy = service.strategy
    strategy = replace(
        strategy,
        alpha=asked.alpha or strategy.alpha,
        relative_risk_max=asked.relative_risk_max or strategy.relative_risk_max,
    )
    bad_ratio = None if asked.target_ratio is None else 1 - asked.target_ratio
    return judged(await _readings(parts, project, asked), strategy, bad_ratio)


async def _readings(parts: Parts, project: str, asked: AskAnalysis) -> list[Reading]:
    if asked.readings:
        return _sent(asked)
    if asked.canary is None or asked.baseline is None:
        raise Invalid(
            "POISE-E445", "there is nothing to judge", where="canary, baseline",
            why="Both arms are needed, by queries or as readings.",
            mend="Send canary and baseline, each with total and bad, or readings.",
        )  # fmt: skip
    if parts.sources is None:
        raise NotFound("POISE-H161", f"no data source {asked.source}", where=project)
    now = parts.clock.now()
    earliest = now - timedelta(seconds=WINDOW_MAX_S)
    since = asked.since or now - timedelta(seconds=asked.window_s)
    if since.tzinfo is None:
        raise Invalid("POISE-E446", "since has no zone", where="since", mend="Write 2026-11-26T12:00:00Z.")
    canary, baseline = (
        Counters(total=one.total, bad=one.bad, good=one.good) for one in (asked.canary, asked.baseline)
    )
    signals = await parts.sources(project, asked.source)
    return readings_of(await grown(signals, canary, baseline, max(since, earliest), now, asked.step_s))


def _sent(asked: AskAnalysis) -> list[Reading]:
    if asked.canary or asked.baseline:
        raise Invalid(
            "POISE-E445", "readings and queries exclude one another", where="readings",
            mend="Send one of them.",
        )  # fmt: skip
    before = 0.0
    for place, one in enumerate(asked.readings):
        wrong = ""
        if one.at_s < before:
            wrong = f"at_s {one.at_s:g} does not follow {before:g}"
        if one.canary_errors > one.canary_requests or one.baseline_errors > one.baseline_requests:
            wrong = "more errors than requests"
        if wrong:
            raise Invalid("POISE-E447", wrong, where=f"readings[{place}]", mend="Send counts since the last.")
        before = one.at_s
    return [
        Reading(
            at_s=one.at_s, canary_requests=one.canary_requests, canary_errors=one.canary_errors,
            baseline_requests=one.baseline_requests, baseline_errors=one.baseline_errors,
        )
        for one in asked.readings
    ]  # fmt: skip


_ASKS: Final = {
    "no-harm": (Finding.SAFE, Finding.UNDECIDED),
    "harm": (Finding.HARM,),
    "safe": (Finding.SAFE,),
}
_METADATA: Final = frozenset(
    {f"{arm}_{role}" for arm in ("canary", "baseline") for role in ("total", "bad", "good")}
    | {"ask", "source", "step", "alpha", "target"}
)
ROUTES = [get_analysis, get_latest_analysis, judge_counters, judge_for_flagger]
