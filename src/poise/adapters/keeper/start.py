"""Starting the keeper: detached, once, however many ask at the same time."""

from __future__ import annotations

import fcntl
import socket
import subprocess
import sys
from pathlib import Path

from poise.model.errors import Unreachable

START_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 2.0
ENTRY = Path(__file__).parents[2] / "keeper" / "__main__.py"


def ensure_keeper(data: Path) -> None:
    """Return when a keeper answers on DATA/run/keeper.sock; start one, detached, if none does.

    Two callers may race: a lock file lets one start it and the other find it. Takes about 60 ms when it
    starts one. Raises `Unreachable` with the reason when it cannot.
    """
    run = data / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _answers(run / "keeper.sock"):
        return
    with (run / "keeper.start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _answers(run / "keeper.sock"):
            _start(data)


def _start(data: Path) -> None:
    # -I -S: no user site, no site packages; the keeper needs the standard library only.
    command = [sys.executable, "-I", "-S", str(ENTRY), "--data", str(data), "--detach"]
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_TIMEOUT_S
        )
        why = ended.stderr.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    if not _answers(data / "run" / "keeper.sock"):
        raise Unreachable(
            "POISE-K101",
            "the keeper does not start",
            where=str(data),
            why=why or "it ended without a word.",
            mend=f"tail {data}/logs/keeper.log",
        )


def _answers(path: Path) -> bool:
    """Tell whether a keeper answers a request; that it accepts is not enough, a dying one does so too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
        talk.settimeout(ANSWER_TIMEOUT_S)
        try:
            talk.connect(str(path))
            talk.sendall(b'{"op": "hello"}\n')
            return talk.recv(1) == b"{"
        except OSError:
            return False
