"""Containers: the argv that runs an image as a workload, and who is who inside.

The engine's client is the keeper's child, so a container ends, is adopted and is told of as a process is. Its
exit code goes to the same status file that bwrap writes. `engine` knows in which words.
"""

from __future__ import annotations

import os
import resource

from . import limits, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .engine import Engine
    from .workload import Container

_ENGINE_ENV = ("HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
_ENGINE_ENV_STARTS = ("CONTAINERS_", "STORAGE_", "REGISTRY_", "DOCKER_")


def wrap(engine: Engine, container: Container, argv: list[str], name: str, env_file: str) -> list[str]:
    """Return the argv that runs `argv` in a container named `name`; empty: what the image itself says.

    Nothing privileged: no capability, no new privileges, at most `CONTAINER_PIDS` processes. It is on the
    machine's network, as every workload with a port is. The image is never pulled here: a release has it.
    Nothing secret is in it: the environment is in `env_file`, and what has line ends in the client's own.
    """
    args = ["--network", "host", "--pull", "never", "--no-healthcheck"]
    args += ["--cap-drop", "all", "--security-opt", "no-new-privileges", "--env-file", env_file]
    args += ["--pids-limit", str(limits.CONTAINER_PIDS)]
    for limit in ("nofile", "nproc"):
        # Never above our own: an engine that may not raise a limit, and tries to, starts nothing.
        soft, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{limit.upper()}"))
        most = limits.CONTAINER_ULIMITS[limit]
        args += ["--ulimit", f"{limit}={_at_most(soft, most // 2)}:{_at_most(hard, most)}"]
    if container.memory_bytes is not None:
        args += ["--memory", str(container.memory_bytes), "--memory-swap", str(container.memory_bytes)]
    if container.cpu is not None:
        args += ["--cpus", f"{container.cpu:g}"]
    if container.read_only:
        args += ["--read-only"]
    for variable in container.passed:
        args += ["--env", variable]
    if argv:
        args += ["--entrypoint", argv[0]]
    args += [engine.image(container.image), *argv[1:]]
    return engine.run(args, name, pid_file(env_file))


def _at_most(value: int, most: int) -> int:
    return most if value == resource.RLIM_INFINITY else min(value, most)


def engine_env(workload: Mapping[str, str], passed: list[str]) -> dict[str, str]:
    """Return the client's own environment: where the engine keeps things, and values with line ends."""
    own = {n: v for n, v in os.environ.items() if n in _ENGINE_ENV or n.startswith(_ENGINE_ENV_STARTS)}
    path = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return {**{name: workload[name] for name in passed}, "PATH": path, **own}


def write_env(path: str, env: Mapping[str, str], passed: list[str]) -> None:
    """Write the workload's environment for the client to read, for the owner alone. Raises OSError."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(file, "w") as out:
        out.writelines(f"{name}={value}\n" for name, value in env.items() if name not in passed)


def pid_file(env_file: str) -> str:
    """Return where the pid of the app is told, beside the environment it was given."""
    return env_file.removesuffix(".env") + ".pid"


def who(env_file: str) -> tuple[int, int, int, int] | None:
    """Return (init, its start, app, its start), which are one process; None while it is being set up.

    A pid that docker told is believed only of a process in that container's cgroup: a daemon in a virtual
    machine counts its own.
    """
    try:
        with open(pid_file(env_file)) as file:
            told, _, container = file.read(200).strip().partition(" ")
        pid = int(told)
        start = proc.start_time(pid)
        with open(f"/proc/{pid}/cgroup") as file:
            is_it = container in file.read()
    except (OSError, ValueError):
        return None
    return (pid, start, pid, start) if start is not None and is_it else None


def memory_events(pid: int) -> str | None:
    """Return the file that counts what the kernel killed for memory in the cgroup of a process."""
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return None
    paths = {controllers: path for _, controllers, path in lines}
    if "memory" in paths:
        return f"/sys/fs/cgroup/memory{paths['memory']}/memory.oom_control"
    return f"/sys/fs/cgroup{paths['']}/memory.events" if "" in paths else None


def oom_kills(path: str | None) -> int:
    """Return how many processes the kernel killed for memory there; 0 where that cannot be read."""
    try:
        with open(path or "") as file:
            counts = dict(line.split(maxsplit=1) for line in file)
    except (OSError, ValueError):
        return 0
    return int(counts.get("oom_kill", 0))


def remove(engine: Engine, name: str) -> None:
    """Begin to end it and to remove what is left; returns at once, whatever comes of it."""
    _begin(engine.remove(name))


def terminate(engine: Engine, name: str) -> None:
    """Begin to send SIGTERM to an app that is not ours to signal; returns at once, whatever comes of it."""
    _begin(engine.terminate(name))


def _begin(argv: list[str]) -> None:
    shell = ["/bin/sh", "-c", '"$@" </dev/null >/dev/null 2>&1 &', "poise", *argv]
    pid = os.posix_spawn("/bin/sh", shell, engine_env({}, []), setsid=True)
    os.waitpid(pid, 0)  # the shell alone, which waits for nothing
