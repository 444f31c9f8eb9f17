"""People looking at dashboards: each asks its eight queries one after another, over and over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.report import Unmeasured, percentile
from bench.rivals import Asked
from poise.adapters.lifeline import AUTOGROUP

LAST = 19
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


@contextmanager
def apart(port: int, token: str, count: int, questions: Sequence[Question]) -> Iterator[dict[str, float]]:
    """The same in a process of its own, so that who measures is not slowed; filled in at the end.

    It goes after everything else: people's browsers take no time of the machine that they look at.
    """
    found: dict[str, float] = {}
    with subprocess.Popen(
        [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([port, token, count, list(questions)]) + "\n")
        process.stdin.flush()
        try:
            yield found
        finally:
            process.stdin.close()
            said = process.stdout.read()
            found |= json.loads(said) if said else {}


def main() -> int:
    """Look until standard input ends; then say how it went."""
    os.nice(LAST)
    with suppress(FileNotFoundError):
        AUTOGROUP.write_text(str(LAST))  # a nice value counts within a session only
    port, token, count, questions = json.loads(sys.stdin.readline())
    began = time.perf_counter()
    with Dashboards(port, token, count, questions).looking() as seen:
        sys.stdin.read()
        took_s = time.perf_counter() - began
    print(
        json.dumps(
            {
                "answers_per_s": len(seen.took_ms) / took_s,
                "p50_ms": percentile(seen.took_ms, 50),
                "p95_ms": percentile(seen.took_ms, 95),
                "failed": len(seen.failed),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
