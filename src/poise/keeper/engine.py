"""podman and docker: which one runs images here, and all in which their command lines differ.

podman's client starts the app and hands it the log file itself. docker's daemon starts it, and the client
stands for it: it copies the output, and ends when and as the app does.
"""

from __future__ import annotations

import os

ENGINES = ("podman", "docker")
"""The first that is there runs all images."""
CHOICE = "POISE_CONTAINER_ENGINE"
"""The environment variable that names one of them instead."""

_PODMAN = """"$@" 3>&-; code=$?; printf '{"exit-code": %d}\\n' "$code" >&3; exit "$code"
"""
"""What runs the client: its exit code is on disk before anybody has to be there to hear it."""
_DOCKER = """engine=$1 name=$2 pid_file=$3; shift 3
until pid=$("$engine" container inspect --format '{{.State.Pid}} {{.Id}}' "$name" 2>/dev/null) &&
    [ "${pid%% *}" -gt 0 ] && echo "$pid" >"$pid_file"; do sleep 0.05; done 3>&- &
watch=$!
"$@" 3>&-; code=$?; kill "$watch" 2>/dev/null; printf '{"exit-code": %d}\\n' "$code" >&3; exit "$code"
"""
"""The same, where the client itself writes no pid of the app."""
_REMOVE_AGAIN_S = 5
"""A daemon may have been about to create what its client, before it was killed, had asked for."""


class Engine:
    """One of `ENGINES` by the path of its client."""

    __slots__ = ("name", "path")

    def __init__(self, path: str) -> None:
        self.path, self.name = path, os.path.basename(path)

    def image(self, released: str) -> str:
        """Return what this engine calls an image that is kept as NAME@DIGEST: docker, by its id."""
        return released if self.name == "podman" else released.partition("@")[2]

    def run(self, words: list[str], name: str, pid_file: str) -> list[str]:
        """Return the argv that runs `run WORDS` and tells the app's pid, and then its exit code."""
        run = [*self._client(), "run", "--rm", "--name", name]
        if self.name == "podman":
            run += ["--pidfile", pid_file, "--log-driver", "passthrough", *words]
            return ["/bin/sh", "-c", _PODMAN, "poise", *run]
        run += ["--log-driver", "none", *words]
        return ["/bin/sh", "-c", _DOCKER, "poise", self.path, name, pid_file, *run]

    def remove(self, name: str) -> list[str]:
        """Return the argv that ends a container and removes what is left of it, if there is one."""
        if self.name == "podman":
            return [*self._client(), "rm", "--force", "--ignore", "--time", "0", name]
        twice = f'"$@"; sleep {_REMOVE_AGAIN_S}; exec "$@"'
        return ["/bin/sh", "-c", twice, "poise", *self._client(), "rm", "--force", "--volumes", name]

    def terminate(self, name: str) -> list[str]:
        """Return the argv that sends SIGTERM to the app."""
        return [*self._client(), "kill", "--signal", "TERM", name]

    def _client(self) -> list[str]:
        """Return the client with the option that names runc where crun would fail: cgroups 1 beside 2."""
        hybrid = os.path.isdir("/sys/fs/cgroup/unified") and not os.path.exists(
            "/sys/fs/cgroup/cgroup.controllers"
        )
        return [self.path, *(["--runtime", "runc"] if hybrid and self.name == "podman" else [])]


def find() -> Engine | None:
    """Return the engine that `CHOICE` names, else the first that is on the PATH; None: there is none."""
    chosen = os.environ.get(CHOICE, "")
    for name in (chosen,) if chosen else ENGINES:
        for folder in os.environ.get("PATH", "/usr/bin:/bin").split(":"):
            path = f"{folder}/{name}"
            if name in ENGINES and folder.startswith("/") and os.access(path, os.X_OK):
                return Engine(path)
    return None
