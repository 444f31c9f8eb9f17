"""What the keeper is asked to run for a replica: pure. The same replica gives the same workload."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from poise.model.delivery import Rollout
from poise.model.fleet import Replica
from poise.ports.artifacts import RELEASED
from poise.ports.runtime import Container, Sandbox, Workload

APP: Final = "/app"
PATH: Final = "/app/.venv/bin:/app/node_modules/.bin:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin"

PROCESS_ENV: Final = {
    "PATH": PATH,
    "HOME": "/tmp",  # noqa: S108 - the sandbox's own
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
"""What a process finds over the machine's; a container has its image's."""

SHELL_WORDS: Final = re.compile(
    r"[.:[!{]|case|cd|command|eval|exec|exit|export|for|if|read|readonly|return|set|shift|source|test|time|trap"
    r"|ulimit|umask|unset|until|wait|while"
)


def shell_line(command: str) -> str:
    """What ``sh -c`` is given: one plain command takes the shell's place, so the process is the app's own.

    Otherwise the shell would get the signals that are meant for the app. What is more than one command, or
    begins with a word of the shell or an assignment, is left to the shell.

    >>> shell_line("python3 server.py"), shell_line("migrate && serve")
    ('exec python3 server.py', 'migrate && serve')
    """
    reader = shlex.shlex(command, posix=True, punctuation_chars=True)
    reader.commenters = ""
    reader.whitespace_split = True
    try:
        words = list(reader)
    except ValueError:
        return command  # the shell says what is wrong with it
    plain = not re.search(r"[\n`]|\$\(", command) and not any(set(word) <= set("();<>|&") for word in words)
    first = words[0] if words else ""
    starts = bool(first) and "=" not in first and not SHELL_WORDS.fullmatch(first)
    return f"exec {command}" if plain and starts else command


def workload_of(
    replica: Replica,
    rollout: Rollout,
    artifact: Path | None,
    dependencies: Mapping[str, int],
    data: Path,
    config: Mapping[str, str] = {},
    secrets: Mapping[str, str] = {},
) -> Workload:
    """The command in a sandbox, the release (``artifact``) read-only at /app; or the image as a container.

    ``dependencies`` are fixed loopback ports by service name, given as ``<NAME>_URL``. Over what the service
    declares come ``config`` and over that ``secrets``, in plain: in the environment and nowhere else.
    """
    spec = rollout.spec
    urls = {f"{_variable(name)}_URL": f"http://127.0.0.1:{port}" for name, port in dependencies.items()}
    env = {
        "POISE_SERVICE": replica.service,
        "POISE_ROLLOUT": str(replica.rollout),
        "POISE_REPLICA": str(replica.index),
        **urls,
        **spec.env,
        **config,
        **secrets,
    }
    common = Workload(
        key=replica.key,
        argv=("/bin/sh", "-c", shell_line(spec.command)) if spec.command else (),
        env=env,
        port="fresh" if spec.port is not None else None,
        cluster=rollout.cluster if spec.port is not None else None,
        log=str(log_file(data, replica)),
        log_limit_bytes=spec.log_max_bytes,
        stop_timeout_s=spec.strategy.drain_s,
    )
    if artifact is None:
        return replace(common, container=_container(rollout))
    memory = spec.resources.memory_bytes
    return replace(
        common,
        cwd=APP,
        env={**PROCESS_ENV, **env},
        sandbox=Sandbox(network=True, binds=((str(artifact), APP, "ro"),), masks=(str(data),), chdir=APP),
        rlimits={"data": memory} if memory is not None else {},
    )


def _container(rollout: Rollout) -> Container:
    """By the digest of the release, whatever the tag is by now."""
    spec = rollout.spec
    return Container(
        image=f"{RELEASED}@{rollout.digest}",
        memory_bytes=spec.resources.memory_bytes,
        cpu=spec.resources.cpu,
        read_only=spec.read_only,
    )


def log_file(data: Path, replica: Replica) -> Path:
    """DATA/logs/<service>/<rollout>-<index>.log."""
    return data / "logs" / replica.service / f"{replica.rollout}-{replica.index}.log"


def _variable(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name).upper()
