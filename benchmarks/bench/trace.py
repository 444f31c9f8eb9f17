"""A recorded trace of requests per minute, and what is made of it: services of any traffic, with faults."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import IO

import numpy as np

from bench.report import Unmeasured

MINUTE_S = 60
DAY = 1440  # minutes
MONTH = 30 * DAY
_OPEN: dict[str, Callable[..., IO[str]]] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}


def read(path: Path) -> np.ndarray:
    """Requests by the minute, from rows of (instant, count), in order; a minute without a row has none."""
    try:
        with _OPEN.get(path.suffix, open)(path, "rt") as file:
            rows = [(row[0], float(row[-1])) for row in csv.reader(file) if row and row[-1][:1].isdigit()]
        at = np.array([datetime.fromisoformat(one).timestamp() for one, _ in rows])
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise Unmeasured(f"{path}: {error}") from error
    if len(rows) < DAY:
        raise Unmeasured(f"{path}: {len(rows)} minutes are less than a day")
    place = np.round((at - at[0]) / MINUTE_S).astype(int)
    made = np.zeros(place.max() + 1)
    np.add.at(made, place, [count for _, count in rows])
    return made


def months(trace: np.ndarray, count: int, random: np.random.Generator, minutes: int = MONTH) -> np.ndarray:
    """``count`` stretches of it from random minutes on, each with a mean of 1: (minutes, count).

    A trace that is shorter than a stretch begins again at its end.
    """
    made = np.empty((minutes, count), dtype=np.float32)
    free = max(1, len(trace) - minutes + 1)
    for column, begin in enumerate(random.integers(0, free, count)):
        stretch = np.take(trace, np.arange(begin, begin + minutes), mode="wrap")
        made[:, column] = stretch / max(stretch.mean(), 1e-9)
    return made


def events(
    shape: np.ndarray,
    per_hour: np.ndarray | float,
    bad_ratio: np.ndarray | float,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """(total, bad) events by the minute: Poisson arrivals of the shape, each bad with its ratio."""
    total = random.poisson(shape * (np.asarray(per_hour) / 60.0)).astype(np.int64)
    return total.astype(np.float32), random.binomial(total, bad_ratio).astype(np.float32)
