"""Who spent it? Each change that came before an episode is weighed against its coming by itself.

The chance that it was this change = what is expected of a change of its kind (how many cause a burn at all) x
how often a burn begins so long after it, summed over when the episode may have begun; and the same for an
episode that comes by itself. Two things that were seen multiply it, each by how much oftener they are seen of
a guilty change than of another. Whether the episode ended as the change was undone, outlived that, or ended
without it. And where it began while both revisions took requests: whether the new one failed more than the
old one beside it, or both alike, which is the mark of a cause elsewhere (a difference in differences: the
trial's Bayes factor, batch by batch, of a greater risk against the same one).
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
ENDED_BY_UNDOING: Final = (0.8, 0.04)  # of guilty changes, and of others: undone, and then it is over;
OUTLIVED_UNDOING: Final = (0.02, 0.06)  # undone, and it goes on;
ENDED_WITHOUT: Final = (0.18, 0.9)  # and not undone: mended forwards, or over by itself
HURTS_BOTH: Final = 0.05  # of guilty changes so many hurt the old revision's users alike, by what both share
HURTS_ONE: Final = 0.02  # of causes elsewhere so many hit the new revision's replicas alone
EVEN: Final = 0.5


class Suspect(Struct, frozen=True, kw_only=True):
    """A change, or a dependency's own episode: when it took effect and when it was undone (minutes).

    In the minutes ``compared`` (first, last) both revisions took requests; ``e_value`` is how much likelier
    what they answered is if the new one fails more often than if both fail alike.
    """

    cause: SpendCause
    subject: str
    at: float
    undone_at: float | None = None
    compared: tuple[float, float] | None = None
    e_value: float = 1.0


class Charge(Struct, frozen=True, kw_only=True):
    """Whose an episode is, by what chance (0..1); ``lag_min`` after it took effect.

    Of an unknown one ``likeliest`` is who it would be next, by the chance ``likeliest_chance``.
    """

    cause: SpendCause
    subject: str = ""
    chance: float = 1.0
    lag_min: float | None = None
    likeliest: str = ""
    likeliest_chance: float = 0.0


def charge(episode: Episode, suspects: Sequence[Suspect]) -> Charge:
    """The likeliest cause where it is likelier than all else together, else unknown."""
    weights = [_weight(episode, one) for one in suspects]
    whole = sum(weights) + BY_ITSELF_PER_MIN
    place = max(
        range(len(weights)), key=lambda k: (weights[k], suspects[k].at, suspects[k].subject), default=None
    )
    if place is None or weights[place] == 0.0:
        return Charge(cause=SpendCause.UNKNOWN)
    if weights[place] / whole < EVEN:
        return Charge(
            cause=SpendCause.UNKNOWN,
            chance=BY_ITSELF_PER_MIN / whole,
            lag_min=likeliest(episode) - suspects[place].at,
            likeliest=suspects[place].subject,
            likeliest_chance=weights[place] / whole,
        )
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
    arms = _arms(one.e_value)
    after = sum(
        chance * _lag(one.cause, minute - one.at) * (arms if is_compared(one, minute) else 1.0)
        for minute, chance in enumerate(episode.onset, episode.first)
        if chance > 1e-6
    )
    return GUILTY[one.cause] * after * _ending(episode, one)


def is_compared(one: Suspect, minute: float) -> bool:
    """Whether both revisions took requests when an episode began that begins with this minute."""
    return one.compared is not None and one.compared[0] - 1.0 <= minute <= one.compared[1]


def _arms(e_value: float) -> float:
    """How much oftener the two revisions answer like this after a guilty change than by a cause elsewhere."""
    if e_value > 1e6:  # either is bounded then, and a product might not be a number
        return (1 - HURTS_BOTH) / HURTS_ONE
    return (HURTS_BOTH + (1 - HURTS_BOTH) * e_value) / (1 - HURTS_ONE + HURTS_ONE * e_value)


def _ending(episode: Episode, one: Suspect) -> float:
    """How much oftener an episode ends like this of a guilty change than of another; 1 while it goes on."""
    if episode.end is None:
        return 1.0
    if one.undone_at is None or one.undone_at > episode.end + UNDONE_AFTER_MIN:
        guilty, other = ENDED_WITHOUT
    elif episode.end <= one.undone_at + UNDONE_AFTER_MIN:
        guilty, other = ENDED_BY_UNDOING
    else:
        guilty, other = OUTLIVED_UNDOING
    return guilty / other


def _lag(cause: SpendCause, lag_min: float) -> float:
    """How often (a minute) an episode begins so long after its cause; a minute early is the grain."""
    if lag_min <= -1.0:
        return 0.0
    late = max(0.0, lag_min)
    if cause is SpendCause.DEPENDENCY:
        return math.exp(-late / PASSED_ON_MIN) / PASSED_ON_MIN
    soon = SOON_SHARE * math.exp(-late / SOON_MIN) / SOON_MIN
    return soon + (1 - SOON_SHARE) * math.exp(-late / LATER_MIN) / LATER_MIN
