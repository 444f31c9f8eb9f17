"""A canary that somebody else rolls out, judged with no server: its counters at a metrics server."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio
from msgspec.structs import replace

from poise.adapters.prometheus.endpoint import Endpoint
from poise.adapters.prometheus.store import PrometheusSignals
from poise.cli import output
from poise.cli.place import Common
from poise.delivery.rollout.outside import Finding, Judgement, judged, readings_of
from poise.engine.arms import Counters, grown
from poise.model.errors import Held, Invalid
from poise.model.service import Strategy
from poise.spec.durations import parse_duration

HOLD_EXIT: Final = 6
TOKEN: Final = "POISE_PROMETHEUS_TOKEN"  # noqa: S105 - a variable's name


def check(
    url: str, canary: Counters, baseline: Counters, window: str, step: str, alpha: float, common: Common,
    *, needs_proof: bool,
) -> int:  # fmt: skip
    """Say the finding; 6 where harm is shown, or, with ``needs_proof``, where safety is not."""
    window_s, step_s = _seconds("--window", window), _seconds("--step", step)
    if not 0 < alpha < 0.5:
        raise Invalid("POISE-E281", "alpha must lie between 0 and 0.5", mend="Write e.g. --alpha 0.05.")
    found = anyio.run(_judged, url, canary, baseline, window_s, step_s, alpha)
    held = found.finding is Finding.HARM or (needs_proof and found.finding is not Finding.SAFE)
    if common.json:
        output.data(found)
    elif held:
        mend = "Roll it back." if found.finding is Finding.HARM else "Wait for more requests, and ask again."
        raise Held("POISE-G601", found.sentence, where="canary", mend=mend)
    else:
        output.say(found.sentence)
    return HOLD_EXIT if held else 0


async def _judged(
    url: str, canary: Counters, baseline: Counters, window_s: float, step_s: float, alpha: float
) -> Judgement:
    signals = PrometheusSignals(Endpoint(url=url, name="--prometheus", bearer=os.environ.get(TOKEN, "")))
    now = datetime.now(UTC)
    try:
        steps = await grown(signals, canary, baseline, now - timedelta(seconds=window_s), now, step_s)
    finally:
        await signals.close()
    return judged(readings_of(steps), replace(Strategy(), alpha=alpha))


def _seconds(option: str, text: str) -> float:
    found = parse_duration(text)
    if found is None or found < 1:
        raise Invalid(
            "POISE-E283", f"{option} '{text[:40]}' is no duration of a second or more",
            mend=f"Write e.g. {option} 30m.",
        )  # fmt: skip
    return found
