"""Log files: opened by the workload itself, kept under their limit by copy and truncate."""

from __future__ import annotations

import os

from .limits import LOG_KEPT
from .loop import say


def rotate(path: str, limit_bytes: int) -> bool:
    """Move the last `limit_bytes` of a file over its limit to `path.1` and empty it; keep three old ones.

    Truncating works because workloads write with O_APPEND. Lines written between copy and truncate are
    lost: the price of a log that needs no reader and no pipe. Returns whether it rotated.
    """
    try:
        size = os.stat(path).st_size
        if size <= limit_bytes:
            return False
        for number in range(LOG_KEPT, 1, -1):
            if os.path.exists(f"{path}.{number - 1}"):
                os.rename(f"{path}.{number - 1}", f"{path}.{number}")
        _copy_tail(path, f"{path}.1", size, limit_bytes)
    except FileNotFoundError:
        return False
    except OSError as error:
        say(f"logs: {path}: {error}")
    try:
        # Also when copying failed (a full disk): losing old lines beats filling the disk.
        os.truncate(path, 0)
    except OSError as error:
        say(f"logs: {path}: {error}")
        return False
    return True


def _copy_tail(source: str, target: str, size: int, limit_bytes: int) -> None:
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            offset, end = max(0, size - limit_bytes), size
            while offset < end:
                sent = os.sendfile(writer, reader, offset, end - offset)
                if sent == 0:
                    break
                offset += sent
        finally:
            os.close(writer)
    finally:
        os.close(reader)
