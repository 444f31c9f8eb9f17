"""What a request may ask to run: parsed whole, refused whole."""

from __future__ import annotations

import math
import os
import re

from . import limits
from .backoff import Backoff
from .wire import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Json = dict[str, Any]

RLIMITS = ("as", "core", "cpu", "data", "fsize", "nofile", "nproc", "stack")
_SANDBOX_FIELDS = ("network", "binds", "masks", "chdir", "tmp")
_CONTAINER_FIELDS = ("image", "memory_bytes", "cpu", "read_only")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ENGINES_OWN = re.compile(
    r"(LD_|GLIBC_|MALLOC_|GO|CONTAINER|STORAGE_|REGISTRY_|DOCKER_|PODMAN_|BUILDAH_|XDG_|DBUS_|LISTEN_|NOTIFY_"
    r"|SSL_|LC_|LANG|POISE_|_).*|.*_PROXY|PATH|HOME|USER|LOGNAME|TMPDIR|ENV|IFS|PS4|PORT",
    re.IGNORECASE,
)
"""Names that the engine's client, or the libraries under it, would take for its own."""


class Sandbox:
    """What a sandboxed workload may see: the read-only root less the masks, plus the binds."""

    __slots__ = ("binds", "chdir", "masks", "network", "tmp")

    def __init__(self, raw: Json) -> None:
        _only(raw, _SANDBOX_FIELDS, "sandbox")
        self.network: bool = take_bool(raw, "network", False)
        self.tmp: bool = take_bool(raw, "tmp", True)
        self.chdir: str | None = _path(raw["chdir"], "chdir") if raw.get("chdir") is not None else None
        self.masks = [_path(mask, "masks") for mask in _list(raw, "masks", limits.BINDS)]
        self.binds: list[tuple[str, str, bool]] = []
        for bind in _list(raw, "binds", limits.BINDS):
            if not (isinstance(bind, list) and len(bind) == 3 and bind[2] in ("ro", "rw")):
                raise _bad("sandbox.binds", 'holds something that is not [source, target, "ro" or "rw"]')
            source = _path(bind[0], "binds")
            if not os.path.exists(source):
                raise _bad("sandbox.binds", f"the source {source} does not exist")
            self.binds.append((source, _path(bind[1], "binds"), bind[2] == "rw"))


class Container:
    """The image that a workload runs, and what it may use; `passed` are its variables of several lines."""

    __slots__ = ("cpu", "image", "memory_bytes", "passed", "read_only")

    def __init__(self, raw: Json, env: dict[str, str]) -> None:
        _only(raw, _CONTAINER_FIELDS, "container")
        self.image = take_str(raw, "image", limits.IMAGE_CHARS)
        if not _IMAGE.fullmatch(self.image):
            raise _bad("container.image", "is not NAME@sha256: and 64 hexadecimal digits")
        low = limits.CONTAINER_MEMORY_BYTES
        memory = take_number(raw, "memory_bytes", 0, 0, 1 << 50)
        if 0 < memory < low:
            raise _bad("container.memory_bytes", f"is under {low}, with which no engine starts anything")
        self.memory_bytes = int(memory) or None
        self.cpu: float | None = take_number(raw, "cpu", 0, 0, 10_000) or None
        self.read_only: bool = take_bool(raw, "read_only", False)
        self.passed = [name for name, value in env.items() if "\n" in value or "\r" in value]
        for name in env:
            if not _VARIABLE.fullmatch(name):
                raise _bad("env", f"holds a name that a container cannot have: {name[:100]!r}")
        for name in self.passed:
            if _ENGINES_OWN.fullmatch(name):
                raise _bad("env", f"{name} has several lines, and the container engine reads {name} itself")


class Spec:
    """One workload, checked. Its fields are exactly those a request may have, and `raw`.

    `raw` is kept to be stored; it holds secrets and is never logged.
    """

    __slots__ = (
        "argv",
        "backoff",
        "cluster",
        "container",
        "cwd",
        "env",
        "key",
        "log",
        "log_limit_bytes",
        "port",
        "raw",
        "restart",
        "result_path",
        "rlimits",
        "sandbox",
        "spec_hash",
        "stop_timeout_s",
    )

    def __init__(self, raw: Json) -> None:
        _only(raw, [name for name in self.__slots__ if name != "raw"], "spec")
        self.raw = raw
        self.key = take_key(raw)
        self.spec_hash = take_str(raw, "spec_hash", 200)
        self.argv = [_text(item, "argv") for item in _list(raw, "argv", limits.ARGV_ITEMS)]
        contained = raw.get("container") is not None
        if not contained and not (self.argv and self.argv[0]):
            raise _bad("argv", "names no program")
        self.cwd = _path(raw.get("cwd", "/"), "cwd")
        self.env = _env(raw.get("env", {}))
        self.restart = _one_of(raw, "restart", ("always", "never"), "always") == "always"
        self.port = _port(raw.get("port"))
        self.cluster = take_str(raw, "cluster", 200) if raw.get("cluster") is not None else None
        self.log = _path(raw["log"], "log") if raw.get("log") is not None else None
        self.log_limit_bytes = int(take_number(raw, "log_limit_bytes", limits.LOG_BYTES, 1_024, 1 << 40))
        self.stop_timeout_s = take_number(
            raw, "stop_timeout_s", limits.STOP_TIMEOUT_S, 0, limits.STOP_TIMEOUT_MAX_S
        )
        self.result_path = _path(raw["result_path"], "result_path") if raw.get("result_path") else None
        self.backoff = _backoff(_object(raw, "backoff"))
        self.rlimits = _rlimits(_object(raw, "rlimits"))
        self.sandbox = Sandbox(_object(raw, "sandbox")) if raw.get("sandbox") is not None else None
        self.container = Container(_object(raw, "container"), self.env) if contained else None
        if self.container and (self.sandbox or self.rlimits or self.cwd != "/" or self.result_path):
            raise _bad("container", "stands alone: without sandbox, rlimits, cwd and result_path")
        if self.cluster and self.port is None:
            raise _bad("cluster", 'needs a port: set "port" to "fresh"')
        if self.sandbox and not self.sandbox.network and self.port is not None:
            raise _bad("sandbox.network", "a workload with a port needs the network")


def take_key(raw: Json) -> str:
    """Return the request's `key`, a non-empty text."""
    key = take_str(raw, "key", limits.KEY_CHARS)
    if not key:
        raise _bad("key", "is empty")
    return key


def take_str(raw: Json, name: str, most: int, default: str | None = None) -> str:
    """Return a text field of at most `most` characters; raises Refusal."""
    value = _text(raw.get(name, default), name)
    if len(value) > most:
        raise _bad(name, f"is longer than {most} characters")
    return value


def take_bool(raw: Json, name: str, default: bool) -> bool:
    """Return a true-or-false field; raises Refusal."""
    value = raw.get(name, default)
    if not isinstance(value, bool):
        raise _bad(name, "is not true or false")
    return value


def take_number(raw: Json, name: str, default: float, low: float, high: float) -> float:
    """Return a finite number field within low..high; raises Refusal."""
    value = raw.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(name, "is not a number")
    if not low <= value <= high:
        raise _bad(name, f"is not within {low:g}..{high:g}")
    return value


def take_int(raw: Json, name: str, default: int | None = None) -> int:
    """Return a whole number of at least 0; raises Refusal."""
    value = raw.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise _bad(name, "is not a whole number of at least 0")
    return value


def _bad(field: str, why: str) -> Refusal:
    return Refusal(
        "bad_request", f"the field '{field}' cannot be used", why, f"correct '{field}', send again"
    )


def _only(raw: Json, known: Iterable[str], where: str) -> None:
    for name in raw:
        if name not in known:
            raise _bad(f"{where}.{name}"[:200], "is unknown; known are " + ", ".join(sorted(known)))


def _object(raw: Json, name: str) -> Json:
    value = raw.get(name)
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise _bad(name, "is not an object")
    return value


def _list(raw: Json, name: str, most: int) -> list[Any]:
    value = raw.get(name, [])
    if not isinstance(value, list) or len(value) > most:
        raise _bad(name, f"is not a list of at most {most}")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise _bad(name, "is not text without NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _bad(name, "is not valid Unicode") from None
    return value


def _path(value: object, name: str) -> str:
    path = _text(value, name)
    if not path.startswith("/"):
        raise _bad(name, "is not an absolute path")
    return path


def _one_of(raw: Json, name: str, allowed: tuple[str, ...], default: str) -> str:
    value = raw.get(name, default)
    if value not in allowed:
        raise _bad(name, "is none of " + ", ".join(allowed))
    return str(value)


def _env(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > limits.ENV_ITEMS:
        raise _bad("env", f"is not an object of at most {limits.ENV_ITEMS} variables")
    for name in value:
        if not name or "=" in _text(name, "env"):
            raise _bad("env", "holds a name that is empty or has '='")
        _text(value[name], "env")  # the value may be a secret, so the message names the field only
    return value


def _port(value: object) -> int | None:
    """0 stands for a fresh one at every start, None for no port."""
    if value is None:
        return None
    if value == "fresh":
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65_536:
        return value
    raise _bad("port", 'is not "fresh", a number in 1..65535 or null')


def _backoff(raw: Json) -> Backoff:
    _only(raw, Backoff.__slots__, "backoff")
    return Backoff(
        initial_s=take_number(raw, "initial_s", limits.BACKOFF_INITIAL_S, 0, 3_600),
        cap_s=take_number(raw, "cap_s", limits.BACKOFF_CAP_S, 0, 3_600),
        forget_s=take_number(raw, "forget_s", limits.BACKOFF_FORGET_S, 0, 1e9),
        burst=int(take_number(raw, "burst", limits.BACKOFF_BURST, 0, 1_000)),
        served_s=take_number(raw, "served_s", limits.SERVED_S, 0, 3_600),
    )


def _rlimits(raw: Json) -> dict[str, int]:
    _only(raw, RLIMITS, "rlimits")
    return {name: take_int(raw, name) for name in raw}
