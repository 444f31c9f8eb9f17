"""Log files: written by the workload itself, kept under their limit by punching out what is oldest.

A workload appends to one file (O_APPEND). The kernel frees the blocks at its front in place, so nothing is
copied, an offset keeps its meaning for ever, no writer waits, no line is lost but the oldest, and a kill -9
between any two calls leaves a whole file. The file's apparent size (`ls -l`) goes on growing, what it takes
on disk (`du`) does not. Past `LOG_APPARENT_BYTES` the hole itself is taken out (FALLOC_FL_COLLAPSE_RANGE).

Where the file system cannot punch, the newest part is copied to `path.1` and the file emptied: lines written
between copy and truncate are lost there.

Beside each file stands `path.index`: 16 bytes a record, little-endian (milliseconds since the epoch, size of
the file at that instant). A byte below the size was written by then, a byte at or above it later. A record
torn by a crash is cut off by the next keeper; a missing one makes an interval wider, never wrong.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time

from . import limits
from .loop import say

_RECORD = struct.Struct("<QQ")
_UNRESERVE = 0x4030582B
"""FS_IOC_UNRESVSP64: the kernel punches a hole. **Source:** linux/falloc.h, fs/ioctl.c (Linux 5.6)."""
_SPACE = struct.Struct("=hh4xqqiI16x")
_COLLAPSE = 0x08
"""FALLOC_FL_COLLAPSE_RANGE. **Source:** linux/falloc.h."""
_CANNOT = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS)


class _Seen:
    """What is known of one file."""

    __slots__ = ("at", "begin", "noted_at", "noted_size", "size", "troubled")

    def __init__(self, begin: int) -> None:
        self.begin = self.size = begin
        self.noted_size, self.noted_at, self.at = -1, 0.0, 0.0
        self.troubled = False


class Logs:
    """Every file that is looked after."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def look(self, path: str, limit_bytes: int) -> float:
        """Note how far a file has grown, trim it above its limit; return in how many seconds to look again.

        A file that grows fast is looked at more often, so that it is over its limit by little.
        """
        try:
            size = os.stat(path).st_size
            seen = self._seen.get(path)
            if seen is None or size < seen.size:  # new to us, or emptied by its workload
                seen = self._seen[path] = _Seen(_begin(path))
            now = time.monotonic()
            rate = (size - seen.size) / (now - seen.at) if seen.at else 0.0
            seen.size, seen.at = size, now
            if size != seen.noted_size and now - seen.noted_at >= limits.LOG_CHECK_S * 0.9:
                self._note(path, size, seen)
            if size - seen.begin > limit_bytes:
                self._trim(path, size, limit_bytes, seen)
        except FileNotFoundError:
            return limits.LOG_CHECK_S
        except OSError as error:
            say(f"logs: {path}: {error}")
            return limits.LOG_CHECK_S
        soon = limit_bytes / limits.LOG_SLACK / rate if rate else limits.LOG_CHECK_S
        return min(limits.LOG_CHECK_S, max(limits.LOG_CHECK_FAST_S, soon))

    def mark(self, path: str) -> None:
        """Note how far a file has grown now: at the start and at the end of what writes it."""
        try:
            size = os.stat(path).st_size
        except OSError:
            size = 0  # nothing was written yet
        seen = self._seen.setdefault(path, _Seen(_begin(path) if size else 0))
        if size != seen.noted_size:
            self._note(path, size, seen)

    def forget(self, path: str) -> None:
        """Nobody writes this file any more."""
        self._seen.pop(path, None)

    def _note(self, path: str, size: int, seen: _Seen) -> None:
        """Append a record; without it (a full disk) an interval is wider, so it is told once and goes on."""
        try:
            file = os.open(
                path + ".index", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            try:
                length = os.fstat(file).st_size
                if length % _RECORD.size:
                    os.ftruncate(file, length - length % _RECORD.size)
                os.write(file, _RECORD.pack(int(time.time() * 1000), size))
            finally:
                os.close(file)
            seen.noted_size, seen.noted_at, seen.troubled = size, seen.at or time.monotonic(), False
            if length > limits.LOG_INDEX_BYTES:
                _thin(path + ".index", seen.begin)
        except OSError as error:
            if not seen.troubled:
                say(f"logs: {path}.index: {error}")
            seen.troubled = True

    def _trim(self, path: str, size: int, limit_bytes: int, seen: _Seen) -> None:
        kept = limit_bytes - limit_bytes // limits.LOG_SLACK
        cut = (size - kept) // limits.LOG_BLOCK_BYTES * limits.LOG_BLOCK_BYTES
        if cut <= seen.begin:
            return
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            _punch(file, cut)
            seen.begin = cut
            if cut >= limits.LOG_APPARENT_BYTES:
                _collapse(file, cut)
                _shift(path + ".index", cut)
                self.forget(path)
        except OSError as error:
            if error.errno not in _CANNOT:
                say(f"logs: {path}: {error}")
            rotate(path, kept)
            self.forget(path)
        finally:
            os.close(file)


def rotate(path: str, kept_bytes: int) -> bool:
    """Copy the last `kept_bytes` to `path.1` and empty the file: where no hole can be punched."""
    try:
        size = os.stat(path).st_size
        _copy_tail(path, f"{path}.1", size, kept_bytes)
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


def _begin(path: str) -> int:
    """The offset of the first byte that is still there."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(file, 0, os.SEEK_DATA)
    except OSError:
        return 0  # an empty file, or no holes here
    finally:
        os.close(file)


def _punch(file: int, end: int) -> None:
    """Free the blocks of `file` below `end`; its size stays. Raises OSError."""
    fcntl.ioctl(file, _UNRESERVE, _SPACE.pack(0, os.SEEK_SET, 0, end, 0, 0))


def _collapse(file: int, length: int) -> None:
    """Take the first `length` bytes out of `file`, atomically beside its writers. Raises OSError."""
    import ctypes  # once per `LOG_APPARENT_BYTES`: not worth its memory before

    offset = ctypes.c_longlong
    call = ctypes.CDLL(None, use_errno=True).fallocate
    if call(ctypes.c_int(file), ctypes.c_int(_COLLAPSE), offset(0), offset(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _shift(index: str, length: int) -> None:
    """Make the records fit a file whose first `length` bytes are gone."""
    _rewrite(index, [(at, size - length) for at, size in _records(index) if size >= length])


def _thin(index: str, begin: int) -> None:
    """Drop what is before `begin`; where all is needed, every second record, so that times are coarser."""
    found = _records(index)
    before = sum(size <= begin for _, size in found)
    needed = found[max(0, before - 1) :]  # the newest of those before says when the first byte was not yet
    if len(needed) * _RECORD.size > limits.LOG_INDEX_BYTES // 2:
        needed = needed[:-1:2] + needed[-1:]
    _rewrite(index, needed)


def _records(index: str) -> list[tuple[int, int]]:
    with open(index, "rb") as file:
        raw = file.read()
    return list(_RECORD.iter_unpack(raw[: len(raw) - len(raw) % _RECORD.size]))


def _rewrite(index: str, records: list[tuple[int, int]]) -> None:
    with open(index + ".new", "wb") as file:
        file.write(b"".join(_RECORD.pack(*one) for one in records))
    os.rename(index + ".new", index)


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
