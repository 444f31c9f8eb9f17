"""Starts a process that runs only once its record is durable.

The child waits at a gate, a pipe whose other end is the keeper's. The keeper writes and fsyncs the record
with the child's pid and start time, then opens the gate. If the keeper dies before, the gate closes, and the
child leaves a mark that it never ran, and ends. So a kill -9 at any instant can neither lose a running
workload nor let the next keeper start it twice.
"""

from __future__ import annotations

import os
import resource
import signal

from .sandbox import STATUS_FD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .workload import Spec


def crash(point: str) -> None:
    """Kill the keeper here if POISE_KEEPER_CRASH names this point.

    For the tests of kill -9 only. Points: after_fork (no record yet), after_record (the gate still shut),
    after_gate (not answered yet).
    """
    if os.environ.get("POISE_KEEPER_CRASH") == point:
        os.kill(os.getpid(), signal.SIGKILL)


def launch(
    spec: Spec, argv: list[str], env: dict[str, str], status_path: str | None, mark: str
) -> tuple[int, int]:
    """Fork a child that waits at its gate; return (pid, gate). Write to the gate to let it run, or close it.

    `status_path`: where bwrap appends its JSON, None without a sandbox. `mark`: the file the child creates
    when it ends without having run. Raises OSError when the machine has no room for another process.
    """
    reader, gate = os.pipe2(os.O_CLOEXEC)
    # Blocked across the fork: a SIGTERM must not run the keeper's own handler in the child.
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        os.close(reader)
        os.close(gate)
        raise
    if pid == 0:
        os.close(gate)
        _child(spec, argv, env, status_path, mark, reader)
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    os.close(reader)
    return pid, gate


def _child(
    spec: Spec, argv: list[str], env: dict[str, str], status_path: str | None, mark: str, gate: int
) -> None:
    """Become the workload. Never returns."""
    try:
        os.setsid()
        _reset_signals()
        if not _passes(gate, mark):
            os._exit(0)
        _wire(spec.log)
        _prepare(spec, sandboxed=status_path is not None)
        if status_path is not None:
            status = os.open(status_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.dup2(status, STATUS_FD)
            os.set_inheritable(STATUS_FD, True)
        os.execvpe(argv[0], argv, env)  # noqa: S606 - no shell: argv is a list
    except BaseException as error:
        os.write(2, f"poise: cannot start {argv[0]}: {error}\n".encode(errors="replace"))
    os._exit(127)


def _passes(gate: int, mark: str) -> bool:
    if os.read(gate, 1):
        return True
    os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return False


def _wire(log: str | None) -> None:
    """Point stdin at nothing, stdout and stderr straight at the log file: no pipe, so no reader can die."""
    nothing = os.open(os.devnull, os.O_RDWR)
    out = nothing
    if log is not None:
        os.makedirs(os.path.dirname(log), exist_ok=True)
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.dup2(nothing, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)


def _prepare(spec: Spec, sandboxed: bool) -> None:
    os.umask(0o022)
    for name, most in spec.rlimits.items():
        kind = getattr(resource, f"RLIMIT_{name.upper()}")
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    os.chdir("/" if sandboxed else spec.cwd)


def _reset_signals() -> None:
    """Give the child the signals of a fresh process: what is ignored or blocked stays so across exec."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
