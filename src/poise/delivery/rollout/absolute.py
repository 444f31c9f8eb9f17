"""One arm against a fixed rate: whether the canary alone keeps an objective, at any look.

Of ``n`` requests ``bad`` were bad. Against the null "the rate is at least ``rate``" (or at most), a beta
prior truncated to the other side gives, with I the regularised incomplete beta function,

    E = B(a + bad, b + n - bad) I(...) / (B(a, b) I(...)) / (rate^bad (1 - rate)^(n - bad))

which depends on the counts alone, so nothing but totals is kept. What both arms suffer alike is bad here
too: this test promotes, and it never rolls back. Only where no others are beside a new revision do the
bounds of its rate stand for them (``judging``).

Source: beta-binomial mixture, Robbins 1970; Ville 1939; the continued fraction: DLMF 8.17.22.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

PRIOR: Final = (0.5, 0.5)  # Jeffreys'
FRACTION_TERMS: Final = 10_000
FRACTION_EXACT: Final = 1e-13
TINY: Final = 1e-300
BISECTIONS: Final = 60


def log_e_below(requests: int, bad: int, rate: float) -> float:
    """ln of the e-value against "the rate of the bad is at least ``rate``"; 0 before any request."""
    if requests <= 0 or not 0 < rate < 1:
        return 0.0
    a, b = PRIOR
    after = (a + bad, b + requests - bad)
    return (
        _log_beta(*after) + log_incomplete(*after, rate)
        - _log_beta(a, b) - log_incomplete(a, b, rate)
        - _log_likelihood(requests, bad, rate)
    )  # fmt: skip


def rate_bounds(requests: int, bad: int, alpha: float) -> tuple[float, float]:
    """All rates that the two-sided mixture does not reject at ``alpha``: (low, high); (0, 1) before any.

    >>> low, high = rate_bounds(1000, 0, 0.05)
    >>> low, round(high, 4)
    (0.0, 0.007)
    """
    if requests <= 0:
        return 0.0, 1.0
    a, b = PRIOR
    whole = _log_beta(a + bad, b + requests - bad) - _log_beta(a, b)
    peak = bad / requests

    def is_inside(rate: float) -> bool:
        return whole - _log_likelihood(requests, bad, rate) < math.log(1 / alpha)

    return _edge(peak, 0.0, is_inside), _edge(peak, 1.0, is_inside)


def log_incomplete(a: float, b: float, x: float) -> float:
    """ln of the regularised incomplete beta function I_x(a, b), 0 < x < 1, exact in both tails."""
    if x < (a + 1) / (a + b + 2):
        return _log_front(a, b, x) - math.log(a) + math.log(_fraction(a, b, x))
    upper = _log_front(b, a, 1 - x) - math.log(b) + math.log(_fraction(b, a, 1 - x))
    return math.log1p(-math.exp(min(upper, -TINY))) if upper > -700 else 0.0


def _edge(inside: float, outside: float, is_inside: Callable[[float], bool]) -> float:
    """The last rate that is inside on the way to ``outside``, rounded outwards."""
    if is_inside(outside):
        return outside
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_inside(middle) else (inside, middle)
    return outside


def _log_likelihood(requests: int, bad: int, rate: float) -> float:
    """ln of rate^bad (1 - rate)^(requests - bad); minus infinity where it is impossible."""
    good = requests - bad
    if (bad and rate <= 0) or (good and rate >= 1):
        return -math.inf
    return (bad * math.log(rate) if bad else 0.0) + (good * math.log1p(-rate) if good else 0.0)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_front(a: float, b: float, x: float) -> float:
    return a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b)


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of I_x(a, b), by the modified Lentz method."""
    ratio, c, d = 0.0, 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, FRACTION_TERMS):
        for coefficient in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _away(1.0 + coefficient * d)
            c = _away(1.0 + coefficient / c)
            ratio = d * c
            found *= ratio
        if abs(ratio - 1.0) < FRACTION_EXACT:
            break
    return found


def _away(value: float) -> float:
    return value if abs(value) > TINY else TINY
