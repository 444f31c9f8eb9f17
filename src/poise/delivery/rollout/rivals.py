"""How Flagger and Argo Rollouts would have decided: their published rules, on the same counts.

Models of the rules as their sources state them, not their programs, for comparison alone: nothing here ever
moves a rollout. Both ask at each check whether 99 % of the canary's requests since the last one succeeded,
and count the checks that did not over the whole analysis: a good check forgives none.

Flagger 1.44.0 (fluxcd/flagger 15bd6ad, pkg/controller/scheduler.go, scheduler_metrics.go,
metrics/providers): ``request-success-rate`` with ``min: 99``; ``threshold: 5`` (as its tutorials have it;
the default is 1) is looked at as a check begins, so the rollback comes a check after the one that reached
it; no traffic fails a check. ``stepWeight`` and ``maxWeight`` end an analysis well; here it lasts as long
as the recording, whose traffic is what it was.

Argo Rollouts after 1.10.0-rc1 (argoproj/argo-rollouts 9f8d111, analysis/analysis.go, utils/evaluate): the
rollback comes with the failure that exceeds ``failureLimit: 3`` (as in its documentation; the default is
0), in an analysis without ``count``. ``successCondition: isNaN(result) || result >= 0.99`` without a
``failureCondition`` leaves nothing inconclusive (which would pause, not abort); without its first half a
check without requests fails. Errors of the query (``consecutiveErrorLimit``, 4: the fifth in a row aborts)
are nothing that counts can show.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

FLAGGER_FAILURES: Final = 5
ARGO_FAILURES: Final = 4  # failureLimit 3: the fourth is one too many
SUCCESS_MIN: Final = 0.99


def flagger(requests: ArrayLike, bad: ArrayLike) -> NDArray[np.intp]:
    """The check (from 0) at which it rolls back, which may be the one after the last; -1: never.

    ``requests`` and ``bad`` are counts [check, ...]; what is found has the axes after the first.
    """
    reached = _reached(requests, bad, FLAGGER_FAILURES, silence_fails=True)
    return np.where(reached < 0, -1, reached + 1)


def argo(requests: ArrayLike, bad: ArrayLike) -> NDArray[np.intp]:
    """The check (from 0) at which it rolls back; -1: never. Shapes as of ``flagger``."""
    return _reached(requests, bad, ARGO_FAILURES, silence_fails=False)


def _reached(requests: ArrayLike, bad: ArrayLike, failures: int, *, silence_fails: bool) -> NDArray[np.intp]:
    """The check at which the ``failures``-th has failed, -1 where fewer do."""
    all_, wrong = np.asarray(requests, dtype=float), np.asarray(bad, dtype=float)
    is_asked = all_ > 0
    succeeded = np.divide(all_ - wrong, all_, out=np.ones_like(all_), where=is_asked)
    failed = np.where(is_asked, succeeded < SUCCESS_MIN, silence_fails)
    enough = np.cumsum(failed, axis=0) >= failures
    return np.where(enough.any(axis=0), enough.argmax(axis=0), -1) if len(all_) else np.asarray(-1)
