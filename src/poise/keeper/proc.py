"""What /proc and pidfds tell: a process is its pid and its start time, never the pid alone."""

from __future__ import annotations

import os
import signal


def boot_id() -> str:
    """Return the kernel's id of this boot; pids and start times mean nothing across boots."""
    return _read("/proc/sys/kernel/random/boot_id").decode().strip()


def start_time(pid: int) -> int | None:
    """Return a process' start in clock ticks since boot, or None if there is no such process."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def rss_kb(pid: int) -> int:
    """Return resident memory in kB, 0 if unknown."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024) if len(fields) > 1 else 0


def open_pidfd(pid: int, start: int) -> int | None:
    """Return a pidfd for exactly the process (pid, start), or None if it is gone. Zombies count as there."""
    if pid <= 0:
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    if start_time(pid) == start:  # looked at after opening: the pid can no longer be given to another
        return descriptor
    os.close(descriptor)
    return None


def send(descriptor: int | None, number: int) -> bool:
    """Send a signal through a pidfd; a process already gone is fine. False: it is not ours to signal."""
    if descriptor is not None:
        try:
            signal.pidfd_send_signal(descriptor, number)
        except PermissionError:
            return False
        except OSError:
            pass
    return True


def first_child(pid: int) -> int | None:
    """Return the oldest child of `pid`, or None."""
    listed = _read(f"/proc/{pid}/task/{pid}/children").split()
    if listed:
        return int(listed[0])
    if os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return None

    # Kernels without CONFIG_PROC_CHILDREN: look at everybody's parent.
    def of(others: list[int]) -> int | None:
        return min((o for o in others if (fields := _stat(o)) and int(fields[1]) == pid), default=None)

    everybody = _pids()
    return of([o for o in everybody if pid < o < pid + 64]) or of(everybody)


def carries(pid: int, nonce: str) -> bool:
    """Tell whether a process was started with this nonce in its environment."""
    return b"POISE_NONCE=" + nonce.encode() in _read(f"/proc/{pid}/environ").split(b"\0")


def sweep(session: int, nonce: str) -> None:
    """SIGKILL what is left of an adopted workload's session; for a process of ours killpg is enough."""
    for pid in _pids():
        fields = _stat(pid)
        if fields and int(fields[3]) == session and carries(pid, nonce):
            descriptor = open_pidfd(pid, int(fields[19]))
            send(descriptor, signal.SIGKILL)
            if descriptor is not None:
                os.close(descriptor)


def ended(descriptor: int) -> dict[str, object] | None:
    """Return how the process behind a pidfd ended if it is a child of ours, without reaping it."""
    try:
        info = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return None
    if info is None:
        return None
    return {"code": info.si_status} if info.si_code == os.CLD_EXITED else {"signal": info.si_status}


def reap(descriptor: int) -> None:
    """Let a dead child go; harmless for one that is not ours."""
    try:
        os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
    except OSError:
        pass


def _stat(pid: int) -> list[bytes]:
    # The name in brackets may hold anything, so count from the last bracket: state is field 0.
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""
