"""What lint finds, and what it is told of the data."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Severity(StrEnum):
    """An error cannot work as declared; a warning works otherwise than people expect."""

    ERROR = "error"
    WARNING = "warning"


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is wrong: by which rule, where (``file:line:column``), why, and what mends it."""

    rule: str
    severity: Severity
    objective: str
    where: str
    what: str
    why: str = ""
    mend: str = ""


class RoleSeen(Struct, frozen=True, kw_only=True):
    """What was seen of one counter of an objective: its selector, series, and steps between two samples.

    ``missing`` says why there is no series; ``is_part`` that none may mean that nothing of it happened.
    """

    text: str
    series: int = 0
    interval_s: float | None = None  # the usual time between two samples
    steps: int = 0
    decreases: int = 0
    missing: str = ""
    mend: str = ""
    is_part: bool = False


class Measured(Struct, frozen=True, eq=False, kw_only=True):
    """What was measured of one objective: events by the hour over ``lasted_s``, or the ``problem``.

    ``good`` and ``total`` [hours]; ``known_ratio`` is the share of time with a sample within what is fresh.
    """

    roles: dict[str, RoleSeen] = {}
    good: Floats = np.empty(0)
    total: Floats = np.empty(0)
    lasted_s: float = 0.0
    known_ratio: float = 1.0
    stale_after_s: float = 90.0
    problem: str = ""
    mend: str = ""
