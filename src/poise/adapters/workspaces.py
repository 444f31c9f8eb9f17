"""The Workspaces port as folders: ``workspaces/<project>/<n>/<job>/`` with the tree and the results.

```
<job>/tree/                 what steps see as /app
<job>/steps/<i>/run.sh      the step's script; wrapper.sh runs it and records how it ended
<job>/steps/<i>/out/        started, result.json: written by the step's own wrapper, so no server need live
<job>/steps/<i>/result.json written by the server for a step that could not write its own; it counts first
<job>/job.json              how the job ended
packed.json                 digests by service, or why there are none
```
What steps can write is never trusted: it is opened without following links, and bounded.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, Final

import msgspec

from poise.adapters.junit import count
from poise.model.delivery import RunState, TestCount
from poise.model.errors import Invalid
from poise.ports.steps import JobResult, Packed, StepFiles, StepResult

RESULT_BYTES: Final = 64 * 1024
PACKED_BYTES: Final = 64 * 2**20  # written by the server alone: an envelope and a bill for each service

_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,150}")

_WRAPPER: Final = """\
#!/bin/bash
# Runs the step and records how it ended: by rename, so that the result is whole or absent.
out=/.poise/out
printf '%s' "$EPOCHREALTIME" > "$out/started"
mkdir -p /tmp/home
begun=$EPOCHREALTIME
code=0
if cd -- __FOLDER__; then
  timeout --kill-after=5 __TIMEOUT__ bash -e /.poise/run.sh || code=$?
else
  code=1
fi
said='{"exit_code": %d, "started_at": %s, "finished_at": %s}'
printf "$said" "$code" "$begun" "$EPOCHREALTIME" > "$out/result.new"
mv -f "$out/result.new" "$out/result.json"
exit "$code"
"""


class FolderWorkspaces:
    """See ``ports.steps.Workspaces``."""

    def __init__(self, workspaces: Path, logs: Path) -> None:
        self._root = workspaces
        self._logs = logs

    def tree(self, run: str, job: str) -> Path:
        """The folder that steps see as ``/app``."""
        folder = self._job(run, job) / "tree"
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        return folder

    def log(self, run: str, job: str, step: int) -> Path:
        """``logs/runs/<project>/<n>/<job>/<step>.log``."""
        return self._logs / "runs" / _safe(run) / _part(job) / f"{step}.log"

    def prepare(self, run: str, job: str, step: int, script: str, folder: str, timeout_s: float) -> StepFiles:
        """Write what the step runs; ``folder`` is relative to ``/app``."""
        given = self._step(run, job, step)
        out = given / "out"
        out.mkdir(mode=0o755, parents=True, exist_ok=True)
        where = shlex.quote(str(Path("/app") / folder))
        wrapper = _WRAPPER.replace("__FOLDER__", where).replace("__TIMEOUT__", f"{max(timeout_s, 0.001):.3f}")
        _write(given / "run.sh", script.encode())
        _write(given / "wrapper.sh", wrapper.encode())
        _write(given / "limit", f"{timeout_s:.3f}".encode())
        log = self.log(run, job, step)
        log.parent.mkdir(parents=True, exist_ok=True)
        return StepFiles(given=given, out=out, log=log)

    def read(self, run: str, job: str) -> JobResult:
        """What the job's steps left so far."""
        folder = self._job(run, job) / "steps"
        found = sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())
        steps = {i: result for i in found if (result := _result(folder / str(i))) is not None}
        ended = _load(self._job(run, job) / "job.json")
        if ended is None:
            return JobResult(steps=steps)
        return JobResult(
            steps=steps,
            ended=RunState(ended["state"]),
            ended_at=ended["at"],
            tests=TestCount(**ended["tests"]),
            problem=ended["problem"],
        )

    def record(self, run: str, job: str, step: int, result: StepResult) -> None:
        """Write a step's result for it."""
        folder = self._step(run, job, step)
        known = _result(folder)
        if known is None or not known.state.is_final:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / "result.json", msgspec.json.encode(result))

    def end(self, run: str, job: str, state: RunState, at: float, problem: str = "") -> None:
        """Record how the job ended and what its JUnit files say."""
        tests = msgspec.to_builtins(count(self.tree(run, job)))
        body = {"state": state.value, "at": at, "tests": tests, "problem": problem}
        _write(self._job(run, job) / "job.json", json.dumps(body).encode())

    def packed(self, run: str) -> Packed | None:
        """What packing came to."""
        found = _load(self._root / _safe(run) / "packed.json", PACKED_BYTES)
        return None if found is None else msgspec.convert(found, Packed)

    def record_packed(self, run: str, packed: Packed) -> None:
        """Record what packing came to."""
        (self._root / _safe(run)).mkdir(parents=True, exist_ok=True)
        _write(self._root / _safe(run) / "packed.json", msgspec.json.encode(packed))

    def prune(self, run: str) -> None:
        """Remove the work trees of a run that is over."""
        for tree in (self._root / _safe(run)).glob("*/tree"):
            shutil.rmtree(tree, ignore_errors=True)

    def runs(self, project: str) -> list[str]:
        """The runs that left anything, ascending."""
        return sorted(f"{project}/{path.name}" for path in (self._root / _part(project)).glob("*"))

    def remove(self, run: str) -> None:
        """Remove the run's folder; its logs lie elsewhere."""
        shutil.rmtree(self._root / _safe(run), ignore_errors=True)

    def _job(self, run: str, job: str) -> Path:
        return self._root / _safe(run) / _part(job)

    def _step(self, run: str, job: str, step: int) -> Path:
        return self._job(run, job) / "steps" / str(step)


def _result(folder: Path) -> StepResult | None:
    """The server's word, else the wrapper's, else that it runs; None before it started."""
    ours = _load(folder / "result.json")
    if ours is not None:
        return msgspec.convert(ours, StepResult)
    said = _load(folder / "out" / "result.json")
    if said is not None:
        return _judged(said, _number(_bounded(folder / "limit")))
    try:
        prepared_at = (folder / "limit").stat().st_mtime
    except FileNotFoundError:
        return None
    started_at = _number(_bounded(folder / "out" / "started")) or prepared_at
    return StepResult(state=RunState.RUNNING, started_at=started_at)


def _judged(said: dict[str, Any], limit_s: float | None) -> StepResult:
    """A wrapper's result. 124 and 137 mean a time-out only when the time was indeed up."""
    try:
        code = int(said["exit_code"])
        begun, ended = float(said["started_at"]), float(said["finished_at"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return StepResult(state=RunState.FAILURE)  # the step wrote over its own result
    late = code in (124, 137) and limit_s is not None and ended - begun >= limit_s - 0.01
    state = RunState.SUCCESS if code == 0 else RunState.TIMEOUT if late else RunState.FAILURE
    return StepResult(state=state, exit_code=code, started_at=begun, finished_at=ended)


def _load(path: Path, at_most: int = RESULT_BYTES) -> Any:
    text = _bounded(path, at_most)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _bounded(path: Path, at_most: int = RESULT_BYTES) -> bytes | None:
    """At most so many bytes of a plain file; None when it is absent, a link, a pipe or a folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read(at_most)
        except OSError:
            return None


def _number(text: bytes | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _write(path: Path, data: bytes) -> None:
    beside = path.with_name(f"{path.name}.new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def _safe(run: str) -> str:
    project, _, n = run.partition("/")
    return f"{_part(project)}/{_part(n)}"


def _part(name: str) -> str:
    if not _PART.fullmatch(name):
        raise Invalid("POISE-P203", f"{name[:80]!r} cannot name a folder",
                      mend="Use letters, digits, '_', '.' and '-'.")  # fmt: skip
    return name
