"""When nobody asks anything: silence is no evidence, so it is held, extended, or Poise asks itself.

A probe is a GET of the service's ``probe_path`` straight to a replica, one to each side in the same round. It
passes no Envoy, so it is no user's request and spends no budget. A round is a batch of the same test as
users' requests (``split``), so the bound ``alpha`` holds over both together; one that both sides fail is
none. Probes that are answered well prove nothing; they only let silence come to an end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from poise.delivery.rollout import sequential
from poise.delivery.rollout.sequential import Counts, Total
from poise.model.delivery import Probing, Rollout, RolloutState, Trial
from poise.model.service import EXTEND_MAX_BAKES, OnSilence, Service

PROBES: Final = "probes"
QUIET_S: Final = 10.0  # without a request of users for so long it is probed
PROBES_MIN: Final = 5  # answered well, before silence may end
WORSE_MAX: Final = 0.1  # the share of the probes that the canary may fail beyond the stable one


def is_probed(rollout: Rollout, now: datetime) -> bool:
    """Whether Poise asks both sides itself now: they share the users, and none of them asks."""
    strategy, last = rollout.spec.strategy, rollout.trial.last_request_at
    serves = rollout.state is RolloutState.STEPPING and 0 < rollout.weight_percent < 100
    if not serves or not strategy.is_sized or rollout.baseline is None or rollout.straight:
        return False
    asks = strategy.on_silence is OnSilence.PROBE and rollout.spec.port is not None
    return asks and (last is None or now - last > timedelta(seconds=QUIET_S))


def heard(trial: Trial, totals: Sequence[Total], canary: int, baseline: int, metrics: Sequence[str]) -> Trial:
    """The trial after more rounds of probes; unchanged when there are none."""
    batch, consumed = sequential.take(trial.consumed, totals, canary, baseline, prefix=f"{PROBES}:")
    if consumed == trial.consumed:
        return trial
    before = trial.probes
    after = replace(
        trial,
        consumed=consumed,
        probes=Probing(
            canary=before.canary + batch.canary_requests,
            canary_bad=before.canary_bad + batch.canary_errors,
            baseline=before.baseline + batch.baseline_requests,
            baseline_bad=before.baseline_bad + batch.baseline_errors,
        ),
    )
    return _weighed(after, batch, metrics)


def _weighed(trial: Trial, batch: Counts, metrics: Sequence[str]) -> Trial:
    return trial if batch.is_empty else sequential.harmed(trial, batch, metrics)


def lacks(rollout: Rollout, *, is_baked: bool, is_extended: bool, bake_s: float) -> str:
    """Why nobody's silence lets it go on yet; empty when it may. ``asks: `` begins what only a person ends.

    ``bake_s`` is how long it waits at least; ``is_extended``: it waited ``EXTEND_MAX_BAKES`` times as long.
    """
    mode = rollout.spec.strategy.on_silence
    if mode is OnSilence.PROBE:
        return _unprobed(rollout, is_baked, bake_s)
    longer_s = EXTEND_MAX_BAKES * bake_s if mode is OnSilence.EXTEND else bake_s
    if not (is_extended if mode is OnSilence.EXTEND else is_baked):
        return f"{NOBODY}; a person is asked after {longer_s:g} s"
    return f"{ASKS}{NOBODY} for {longer_s:g} s, and silence is no evidence; {_mend(rollout)}"


def _unprobed(rollout: Rollout, is_baked: bool, bake_s: float) -> str:
    spec, probes = rollout.spec, rollout.trial.probes
    if spec.port is None:  # there is nothing to ask: that it runs is all that can be known
        return "" if is_baked else f"{NOBODY}; goes on unproven after {bake_s:g} s"
    told = f"{NOBODY}; {said(spec, probes)}"
    if not is_baked:
        return f"{told}; goes on unproven after {bake_s:g} s if they are answered well"
    if probes.canary - probes.canary_bad < PROBES_MIN:
        return f"{ASKS}{told}, which is too little to go on; {_mend(rollout)}"
    if probes.canary_bad > probes.baseline_bad + WORSE_MAX * probes.canary:
        return f"{ASKS}{told}, more than on the stable one; {_mend(rollout)}"
    return ""


def said(spec: Service, probes: Probing) -> str:
    """The probes in words: ``0 of 12 probes of GET /cart failed against 0 of 12``."""
    if not probes.canary:
        return f"no probe of GET {spec.probe_path} was answered well yet"
    return (
        f"{probes.canary_bad} of {probes.canary} probes of GET {spec.probe_path} failed against "
        f"{probes.baseline_bad} of {probes.baseline}"
    )


def _mend(rollout: Rollout) -> str:
    return f"run poise promote or poise abort {rollout.service_key}"


ASKS: Final = "asks: "  # how the reason of a rollout begins that only a person can move
NOBODY: Final = "no request reached either side"
