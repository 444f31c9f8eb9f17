"""Who spent it? Each change that came before an episode is weighed against its coming by itself.

The chance that it was this change = what is expected of a change of its kind (how many cause a burn at all) x
how often a burn begins so long after it, summed over when the episode may have begun; and the same for an
episode that comes by itself. A change that was undone during the episode, which then ended, is likelier.
Nobody is charged by less than an even chance: what remains is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from poise.balance.ledger.episodes import Episode
from poise.model.spend import SpendCause

GUILTY: Final[dict[SpendCause, float]] = {  # of how many changes of a kind one causes a burn
    SpendCause.DEPLOY: 0.05,
    SpendCause.CONFIG: 0.05,
    SpendCause.DEPENDENCY: 0.5,
}
SOON_SHARE: Final = 0.85  # of the burns that a change causes begin soon after it
SOON_MIN: Final = 4.0
LATER_MIN: Final = 30.0
PASSED_ON_MIN: Final = 2.0  # how soon a dependency's failures are ours
BY_ITSELF_PER_MIN: Final = 1 / 1440  # episodes that no change causes: one a day
UNDONE_AFTER_MIN: Final = 15.0  # at little traffic the last failure is seen long before the end
UNDONE_FACTOR: Final = 20.0  # by how much oftener a guilty change is undone during its episode than another
EVEN: Final = 0.5


class Suspect(Struct, frozen=True, kw_only=True):
    """A change, or a dependency's own episode: when it took effect and when it was undone (minutes)."""

    cause: SpendCause
    subject: str
    at: float
    undone_at: float | None = None


class Charge(Struct, frozen=True, kw_only=True):
    """Whose an episode is, by what chance (0..1); ``lag_min`` after it took effect."""

    cause: SpendCause
    subject: str = ""
    chance: float = 1.0
    lag_min: float | None = None


def charge(episode: Episode, suspects: Sequence[Suspect]) -> Charge:
    """The likeliest cause where it is likelier than all else together, else unknown."""
    weights = [_weight(episode, one) for one in suspects]
    whole = sum(weights) + BY_ITSELF_PER_MIN
    if not weights or max(weights) / whole < EVEN:
        return Charge(cause=SpendCause.UNKNOWN, chance=BY_ITSELF_PER_MIN / whole)
    place = max(range(len(weights)), key=lambda k: (weights[k], suspects[k].at, suspects[k].subject))
    return Charge(
        cause=suspects[place].cause,
        subject=suspects[place].subject,
        chance=weights[place] / whole,
        lag_min=likeliest(episode) - suspects[place].at,
    )


def likeliest(episode: Episode) -> int:
    """The minute with which it most likely began."""
    return episode.first + max(range(len(episode.onset)), key=lambda i: episode.onset[i])


def _weight(episode: Episode, one: Suspect) -> float:
    if one.undone_at is not None and one.undone_at < episode.begin:
        return 0.0
    after = sum(
        chance * _lag(one.cause, episode.first + i - one.at)
        for i, chance in enumerate(episode.onset)
        if chance > 1e-6
    )
    ended_it = (
        one.undone_at is not None
        and episode.end is not None
        and one.undone_at <= episode.end + UNDONE_AFTER_MIN
        and episode.end <= one.undone_at + UNDONE_AFTER_MIN
    )
    return GUILTY[one.cause] * after * (UNDONE_FACTOR if ended_it else 1.0)


def _lag(cause: SpendCause, lag_min: float) -> float:
    """How often (a minute) an episode begins so long after its cause; a minute early is the grain."""
    if lag_min <= -1.0:
        return 0.0
    late = max(0.0, lag_min)
    if cause is SpendCause.DEPENDENCY:
        return math.exp(-late / PASSED_ON_MIN) / PASSED_ON_MIN
    soon = SOON_SHARE * math.exp(-late / SOON_MIN) / SOON_MIN
    return soon + (1 - SOON_SHARE) * math.exp(-late / LATER_MIN) / LATER_MIN
