"""How a service's traffic shall split: pure, fail-static, and never up for a canary without a verdict.

Weights are percents by rollout number that sum to 100, or nothing at all while nothing can serve.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from poise.fleet.seen import Seen
from poise.model.balance import verdict_key
from poise.model.delivery import Rollout, RolloutState

Weights = dict[int, int]


class Split(Struct, frozen=True, kw_only=True):
    """Desired weights; ``raises`` names the canary that rises above what was acknowledged.

    ``mirror``: the rollout that gets copies of so many percent of the requests; ``preview``: the one that
    those reach who ask for it.
    """

    weights: Weights
    mirror: tuple[int, int] | None = None
    preview: int | None = None
    raises: int | None = None
    verdict: str | None = None


def split(seen: Seen) -> Split:
    """The weights, and who is beside them, as far as readiness and verdicts let them."""
    return replace(_split(seen), mirror=_mirror(seen), preview=_preview(seen))


def _preview(seen: Seen) -> int | None:
    """Whoever asks for it may look at what is ready and on its way."""
    new = newest(seen, lambda state: state in (RolloutState.STARTING, RolloutState.STEPPING))
    if seen.service is None or new is None or not new.spec.strategy.preview.is_declared:
        return None
    return new.n if ready(seen, new.n) else None


def _mirror(seen: Seen) -> tuple[int, int] | None:
    """Copies go to what is ready and takes no user."""
    canary = newest(seen, lambda state: state is RolloutState.STEPPING)
    if seen.service is None or canary is None or not canary.mirror_percent or not ready(seen, canary.n):
        return None
    return (canary.n, canary.mirror_percent)


def _split(seen: Seen) -> Split:
    """The weights that the rollouts ask for, as far as readiness and verdicts let them."""
    acked = seen.route.acked if seen.route else {}
    live = newest(seen, lambda state: state is RolloutState.LIVE)
    canary = newest(seen, lambda state: state.is_active)
    if canary is not None and canary.beside == 0:
        live = None  # it is stopped for the other, and nobody is served in between
    if seen.service is None or (live is None and canary is None):
        return Split(weights={})
    now = acked.get(canary.n, 0) if canary else 0
    aim = 0 if canary is None or _is_away(seen, canary, live) else wanted(canary, live)
    if canary is not None and _asked(seen, canary.n) < now:
        aim = min(aim, _asked(seen, canary.n))  # once its fall is acknowledged it may rise again
    rises = aim > now and canary is not None and canary.ask is not None and may_rise(seen, canary)
    weights = _weights(live, canary, aim if rises else min(aim, now))
    if any(not _can_serve(seen, n, acked) for n in weights):
        return Split(weights=acked)  # fail static: what is acknowledged goes on
    if rises and canary is not None and canary.ask is not None:
        return Split(weights=weights, raises=canary.n, verdict=verdict_key(canary.key, canary.ask.n))
    return Split(weights=weights)


def _asked(seen: Seen, n: int) -> int:
    """The percent that was asked for and is not acknowledged yet; 100 where nothing is under way."""
    route = seen.route
    return route.weights.get(n, 0) if route is not None and route.version > route.acked_version else 100


def _is_away(seen: Seen, canary: Rollout, live: Rollout | None) -> bool:
    """Whether nobody of the canary answers while the live one does: its users need not wait for a judgement.

    It rises again as it rose before: ready, and with a fresh verdict.
    """
    return live is not None and ready(seen, canary.n) == 0 and ready(seen, live.n) > 0


def wanted(canary: Rollout, live: Rollout | None) -> int:
    """The canary's percent: with nothing live it takes all or nothing, as there is no one to share with."""
    if canary.state is RolloutState.ROLLING_BACK or canary.weight_percent <= 0:
        return 0
    return canary.weight_percent if live is not None else 100


def newest(seen: Seen, is_it: Callable[[RolloutState], bool]) -> Rollout | None:
    """The newest rollout in such a state."""
    found = [rollout for rollout in seen.rollouts if is_it(rollout.state)]
    return max(found, key=lambda rollout: rollout.n) if found else None


def may_rise(seen: Seen, rollout: Rollout) -> bool:
    """Whether all the replicas that it should have are ready."""
    return ready(seen, rollout.n) >= max(1, rollout.replicas)


def ready(seen: Seen, n: int) -> int:
    """How many replicas of a rollout are ready."""
    return sum(1 for r in seen.replicas if r.rollout == n and r.ready and not r.draining)


def _weights(live: Rollout | None, canary: Rollout | None, share: int) -> Weights:
    weights = {}
    if canary is not None and share > 0:
        weights[canary.n] = share
    if live is not None and share < 100:
        weights[live.n] = 100 - share
    return weights if sum(weights.values()) == 100 else {}


def _can_serve(seen: Seen, n: int, acked: Weights) -> bool:
    """A rollout that serves already may go on, whatever its probes say; a new one must be ready."""
    return acked.get(n, 0) > 0 or ready(seen, n) > 0
