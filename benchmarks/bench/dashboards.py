"""People looking at dashboards: each asks its eight queries one after another, over and over."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.report import Unmeasured
from bench.rivals import Asked

Question = tuple[str, tuple[int, int] | None, int, int]  # expression, span, end_ms, step_s


class Dashboards:
    """So many of them in threads; the time of every answer is kept."""

    def __init__(self, port: int, token: str, count: int, questions: Sequence[Question]) -> None:
        self.took_ms: list[float] = []
        self.failed: list[str] = []
        self._questions = questions
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._look, args=(port, token, place), daemon=True)
            for place in range(count)
        ]

    @contextmanager
    def looking(self) -> Iterator[Dashboards]:
        """While the block runs."""
        for one in self._threads:
            one.start()
        try:
            yield self
        finally:
            self._stop.set()
            for one in self._threads:
                one.join(120)

    def _look(self, port: int, token: str, place: int) -> None:
        asked = Asked(port, token)
        turn = place
        while not self._stop.is_set():
            began = time.perf_counter()
            try:
                asked.query(*self._questions[turn % len(self._questions)])
            except (Unmeasured, OSError) as error:
                self.failed.append(str(error)[:300])
                asked = Asked(port, token)
                self._stop.wait(0.2)
            else:
                self.took_ms.append((time.perf_counter() - began) * 1000)
            turn += 1
