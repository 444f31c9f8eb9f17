"""Where jobs run and what their steps left behind: workspaces with results that outlive every process."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from msgspec import Struct

from poise.model.attestation import Attested
from poise.model.delivery import RunState, TestCount


class StepResult(Struct, frozen=True, kw_only=True):
    """One step as observed. ``started_at`` and ``finished_at`` are epoch seconds; not final: it runs."""

    state: RunState
    exit_code: int | None = None
    started_at: float | None = None
    finished_at: float | None = None


class JobResult(Struct, frozen=True, kw_only=True):
    """One job as observed: its steps by index, and once it has ended how, with its JUnit counts."""

    steps: dict[int, StepResult] = {}
    ended: RunState | None = None
    ended_at: float | None = None
    tests: TestCount = TestCount()
    problem: str = ""


class Packed(Struct, frozen=True, kw_only=True):
    """What packing a run's releases came to: digests by service and what was signed, or why it cannot be."""

    digests: dict[str, str] = {}
    attested: dict[str, Attested] = {}
    problem: str = ""


class StepFiles(Struct, frozen=True, kw_only=True):
    """What a step needs: ``given`` is bound read-only (``run.sh`` in it), ``out`` is written by the step."""

    given: Path
    out: Path
    log: Path


class Workspaces(Protocol):
    """``run`` is a run's key. A result is written beside and renamed, so it is whole or absent."""

    def tree(self, run: str, job: str) -> Path:
        """The folder that the job's steps see as ``/app``; made empty if absent."""
        ...

    def log(self, run: str, job: str, step: int) -> Path:
        """Where the step's output goes."""
        ...

    def prepare(self, run: str, job: str, step: int, script: str, folder: str, timeout_s: float) -> StepFiles:
        """Write the script of a step and the wrapper that records how it ended."""
        ...

    def read(self, run: str, job: str) -> JobResult:
        """What the job's steps left so far."""
        ...

    def record(self, run: str, job: str, step: int, result: StepResult) -> None:
        """Write a step's result for it (a checkout; a step that was killed). A result on record stays."""
        ...

    def end(self, run: str, job: str, state: RunState, at: float, problem: str = "") -> None:
        """Record how the job ended and count its JUnit files."""
        ...

    def packed(self, run: str) -> Packed | None:
        """What packing came to; None until it was done."""
        ...

    def record_packed(self, run: str, packed: Packed) -> None:
        """Record what packing came to."""
        ...

    def prune(self, run: str) -> None:
        """Remove the work trees of a run that is over; results and logs stay."""
        ...

    def runs(self, project: str) -> list[str]:
        """The keys of the project's runs that left anything, ascending."""
        ...

    def remove(self, run: str) -> None:
        """Remove all that a run left but its logs; nothing to do when nothing is there."""
        ...
