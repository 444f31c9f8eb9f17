"""The operations a client may ask for, by name: fields checked, token checked, then the supervisor's turn."""

from __future__ import annotations

import os
import select
import sys

from . import limits, proc, wire
from .wire import Refusal
from .workload import take_bool, take_int, take_key, take_number, take_str

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from .folders import Folders
    from .loop import Loop
    from .supervise import Supervisor

    Json = dict[str, Any]

    class Client(Protocol):
        """The connection a request came by."""

        watching: object

        def put(self, line: bytes) -> None: ...

    class Server(Protocol):
        """What requests act on."""

        loop: Loop
        folders: Folders
        supervisor: Supervisor
        upgrade_to: list[str] | None


MUTATIONS = ("spawn", "stop", "restart", "template", "hold", "shutdown", "upgrade", "detach")
"""These carry the leader's fencing token; one lower than the highest seen is refused."""


def handle(server: Server, client: Client, request: Json) -> Json:
    """Do one request and return its result; raises Refusal."""
    op = request.get("op")
    deed = _OPERATIONS.get(op) if isinstance(op, str) else None
    if deed is None:
        known = ", ".join(_OPERATIONS)
        raise Refusal(
            "unknown_op", f"no operation {str(op)[:100]!r}", f"known are {known}", "ask `hello` first"
        )
    if op in MUTATIONS:
        _fence(server, take_int(request, "token"))
    return deed(server, client, request)


def _fence(server: Server, token: int) -> None:
    highest = server.supervisor.state.token
    if token < highest:
        raise Refusal(
            "stale_token",
            "a mutation is refused",
            f"its token {token} is lower than {highest}, the highest seen: another leader took over",
            "take the lease again, then decide again",
        )
    if token > highest:
        server.supervisor.record("token", token=token)


def _hello(server: Server, client: Client, request: Json) -> Json:
    version = take_int(request, "version", limits.PROTOCOL)
    if not limits.PROTOCOL_OLDEST <= version <= limits.PROTOCOL:
        raise Refusal(
            "version",
            f"protocol {version} is not spoken",
            f"this keeper speaks {limits.PROTOCOL_OLDEST}..{limits.PROTOCOL}",
            "send `upgrade`, or use a control process of the same release",
        )
    able = {"sandbox": server.supervisor.bwrap, "container": server.supervisor.engine}
    features = [*_OPERATIONS, *(name for name, program in able.items() if program)]
    own = os.getpid()
    return {
        "version": version,
        "features": features,
        "pid": own,
        "rss_kb": proc.rss_kb(own),
        "boot_id": proc.boot_id(),
        "token": server.supervisor.state.token,
        "seq": server.supervisor.journal.seq,
        "data": server.folders.data,
    }


def _list(server: Server, client: Client, request: Json) -> Json:
    return server.supervisor.list()


def _spawn(server: Server, client: Client, request: Json) -> Json:
    return server.supervisor.spawn(_object(request, "spec"))


def _stop(server: Server, client: Client, request: Json) -> Json:
    return server.supervisor.stop(take_key(request), _timeout_s(request), _reason(request))


def _restart(server: Server, client: Client, request: Json) -> Json:
    victim = (take_int(request, "pid", 0), take_int(request, "start_time", 0))
    timeout_s = 0.0 if take_bool(request, "kill_now", False) else _timeout_s(request)
    return server.supervisor.restart(take_key(request), victim, timeout_s, _reason(request))


def _hold(server: Server, client: Client, request: Json) -> Json:
    return server.supervisor.hold(take_key(request), take_bool(request, "in_rotation", True))


def _template(server: Server, client: Client, request: Json) -> Json:
    clusters = _object(request, "clusters")
    if len(clusters) > limits.CLUSTERS:
        raise Refusal("too_many", "too many clusters", f"the limit is {limits.CLUSTERS}", "send fewer")
    for name, template in clusters.items():
        path = template.get("path") if isinstance(template, dict) else None
        endpoint = template.get("endpoint", {}) if isinstance(template, dict) else None
        nested = endpoint.get("endpoint", {}) if isinstance(endpoint, dict) else None
        if not (
            isinstance(path, str) and path.startswith("/") and "\0" not in path and isinstance(nested, dict)
        ):
            raise Refusal(
                "bad_request",
                f"the template of cluster {name[:100]!r} cannot be used",
                "it needs an absolute `path`, and `endpoint` must be an object",
                'send e.g. {"path": "/.../eds/shop.1.json", "endpoint": {}, "version": 1}',
            )
    return server.supervisor.template(clusters)


def _watch(server: Server, client: Client, request: Json) -> Json:
    after, journal = take_int(request, "after", 0), server.supervisor.journal
    # What is queued must be in the file first, or it would be neither replayed nor announced to this client.
    server.supervisor.commit()
    past = list(journal.events(after))[-limits.REPLAY_EVENTS :]
    client.watching = request.get("id", 0)
    for record in past:
        client.put(wire.event(client.watching, record))
    return {"seq": journal.seq, "replayed": len(past)}


def _shutdown(server: Server, client: Client, request: Json) -> Json:
    return server.supervisor.shutdown(_timeout_s(request))


def _detach(server: Server, client: Client, request: Json) -> Json:
    server.loop.over = True
    return {"left_running": len(server.supervisor.replicas)}


def _upgrade(server: Server, client: Client, request: Json) -> Json:
    argv = _entry()
    if request.get("entry") is not None:
        argv[3] = take_str(request, "entry", 4_096)
    if request.get("python") is not None:
        argv[0] = take_str(request, "python", 4_096)
    if not _answers(argv):
        raise Refusal(
            "upgrade_failed",
            "the keeper stays as it is",
            f"{argv[3]} --check does not run under {argv[0]}",
            "name the __main__.py of an installed poise.keeper and its python",
        )
    server.upgrade_to = [*argv, "--data", server.folders.data]
    return {"entry": argv[3], "pid": os.getpid()}


def _entry() -> list[str]:
    """Return the argv that starts a keeper from this very package."""
    return [sys.executable, "-I", "-S", os.path.dirname(os.path.abspath(__file__)) + "/__main__.py"]


def _answers(argv: list[str]) -> bool:
    """Try the new image before becoming it: a broken one would leave the machine without a keeper."""
    try:
        pid = os.posix_spawn(argv[0], [*argv, "--check"], os.environ)
    except OSError:
        return False
    descriptor = os.pidfd_open(pid)
    ready, _, _ = select.select([descriptor], [], [], limits.UPGRADE_CHECK_S)
    if not ready:
        os.kill(pid, 9)
    os.close(descriptor)
    return os.waitpid(pid, 0)[1] == 0


def _object(request: Json, name: str) -> Json:
    value = request.get(name)
    if not isinstance(value, dict):
        raise Refusal(
            "bad_request", f"the field '{name}' cannot be used", "it is not an object", f"send '{name}'"
        )
    return value


def _timeout_s(request: Json) -> float | None:
    if request.get("timeout_s") is None:
        return None
    return take_number(request, "timeout_s", 0, 0, limits.STOP_TIMEOUT_MAX_S)


def _reason(request: Json) -> str:
    return take_str(request, "reason", 1_000, "")


_OPERATIONS: dict[str, Callable[[Server, Client, Json], Json]] = {
    "hello": _hello,
    "list": _list,
    "spawn": _spawn,
    "stop": _stop,
    "restart": _restart,
    "hold": _hold,
    "template": _template,
    "watch": _watch,
    "shutdown": _shutdown,
    "detach": _detach,
    "upgrade": _upgrade,
}
