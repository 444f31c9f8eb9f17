"""The input of the page of a run: its jobs, their steps, and the log so far."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.delivery import RunState, TestCount
from poise.web.views import Chrome

LOG_LINES_MAX = 5_000  # lines that a run page shows; the newest win


class StepView(Struct, frozen=True, kw_only=True):
    """One step of a job; ``line`` is the number of its first log line, None before it has one."""

    name: str
    state: RunState
    took_s: float | None = None
    exit_code: int | None = None
    line: int | None = None


class JobView(Struct, frozen=True, kw_only=True):
    """One job of a run, after the jobs that it needs."""

    id: str
    state: RunState
    needs: tuple[str, ...] = ()
    took_s: float | None = None
    steps: tuple[StepView, ...] = ()


class LogLine(Struct, frozen=True, kw_only=True):
    """A numbered line of a run's log, from 1; escape sequences are taken out when it is shown."""

    n: int
    text: str


class RunView(Struct, frozen=True, kw_only=True):
    """One run; ``lines`` are its log so far, ascending, at most LOG_LINES_MAX of them are shown.

    While ``live``, the page follows ``/api/v1/runs/<project>/<n>/log?after=<last line>``.
    """

    chrome: Chrome
    project: str
    n: int
    sentence: str
    state: RunState
    commit: str
    branch: str
    summary: str
    author: str
    created_at: datetime
    finished_at: datetime | None = None
    jobs: tuple[JobView, ...] = ()
    tests: TestCount = TestCount()
    lines: tuple[LogLine, ...] = ()
    problem: str = ""
    releases: tuple[tuple[str, str], ...] = ()  # (label, href)

    @property
    def live(self) -> bool:
        """Whether more of the log may come."""
        return not self.state.is_final
