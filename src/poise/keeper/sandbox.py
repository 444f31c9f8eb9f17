"""bubblewrap: the argv that hides the machine from a workload, and who is who inside."""

from __future__ import annotations

import json
import os

from . import limits, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .workload import Sandbox

STATUS_FD = 3
_OWN = ("proc", "dev", "tmp")
_ALWAYS_MASKED = (
    "/run/user",
    "/run/docker.sock",
    "/run/podman",
    "/run/containerd",
    "/run/dbus",
    "/run/snapd.sock",
)
"""Sockets of other daemons: behind a read-only bind they would still answer."""


def find() -> str | None:
    """Return the path of bwrap, or None."""
    for folder in os.environ.get("PATH", "/usr/bin:/bin").split(":"):
        path = f"{folder}/bwrap"
        if folder.startswith("/") and os.access(path, os.X_OK):
            return path
    return None


def wrap(bwrap: str, sandbox: Sandbox, argv: list[str], cwd: str, masked: list[str]) -> list[str]:
    """Return the argv that runs `argv` in a sandbox.

    The root is put together from the machine's top-level folders, read-only, so that targets that do not
    exist on the machine (such as /app) can be bound. `masked` comes on top of the workload's own masks. No
    --die-with-parent: a workload outlives its keeper. Nothing secret is in it: secrets are environment.
    """
    args = [bwrap, "--json-status-fd", str(STATUS_FD), "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    args += ["--cap-drop", "ALL"] if os.geteuid() == 0 else ["--unshare-user"]
    if not sandbox.network:
        args += ["--unshare-net"]
    args += _root(sandbox.tmp)
    for path in _masks([*sandbox.masks, *masked, *_ALWAYS_MASKED], sandbox.tmp):
        args += ["--tmpfs", path] if os.path.isdir(path) else ["--ro-bind", "/dev/null", path]
    for source, target, writable in sandbox.binds:
        args += ["--bind" if writable else "--ro-bind", source, target]
    return [*args, "--remount-ro", "/", "--chdir", sandbox.chdir or cwd, "--", *argv]


def _root(own_tmp: bool) -> list[str]:
    args: list[str] = []
    for name in sorted(os.listdir("/")):
        path = "/" + name
        if os.path.islink(path):
            args += ["--symlink", os.readlink(path), path]
        elif name not in _OWN:
            args += ["--ro-bind-try", path, path]
    args += ["--proc", "/proc", "--dev", "/dev"]
    if own_tmp:
        return [*args, "--size", str(limits.TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108 - the sandbox's own
    return [*args, "--ro-bind", "/tmp", "/tmp"]  # noqa: S108


def _masks(paths: list[str], own_tmp: bool) -> list[str]:
    """Return what must be hidden, outermost first; what is hidden or absent already needs no mask."""
    hidden = ["/proc", "/dev", *(["/tmp"] if own_tmp else [])]  # noqa: S108
    out: list[str] = []
    for path in sorted({os.path.realpath(path) for path in paths if os.path.exists(path)}):
        if path != "/" and not any(path == top or path.startswith(top + "/") for top in hidden):
            hidden.append(path)
            out.append(path)
    return out


def status(path: str) -> dict[str, int]:
    """Return what bwrap has written so far: `child-pid` (pid 1 of the namespace), `exit-code`."""
    found: dict[str, int] = {}
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    said = json.loads(line)
                except ValueError:
                    continue
                found.update({k: v for k, v in said.items() if k in ("child-pid", "exit-code")})
    except OSError:
        pass
    return found


def exit_of(path: str) -> dict[str, object] | None:
    """Return how the app ended, by bwrap's word: 128 + n is signal n. None: it did not say."""
    code = status(path).get("exit-code")
    if code is None:
        return None
    return {"signal": code - 128} if 128 < code <= 128 + 64 else {"code": code}


def who(path: str) -> tuple[int, int, int, int] | None:
    """Return (init, its start, app, its start) of a running sandbox, None while it is being set up."""
    init = status(path).get("child-pid")
    init_start = proc.start_time(init) if init else None
    app = proc.first_child(init) if init and init_start is not None else None
    app_start = proc.start_time(app) if app else None
    if init is None or init_start is None or app is None or app_start is None:
        return None
    return init, init_start, app, app_start
