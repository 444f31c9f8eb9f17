"""What Envoy really says, since the counting rests on its words."""

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from poise.adapters.load import LoadPlan, LoadResult, run_load

ENVOY = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")


def cluster(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def bootstrap(port: int, clusters: dict[str, int]) -> bytes:
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    connections = (
        "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager"
    )
    hosts = [
        {"name": name, "domains": [name], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": name}}]}
        for name in clusters
    ]
    manager = {
        "@type": connections,
        "stat_prefix": "test",
        "route_config": {"virtual_hosts": hosts},
        "http_filters": [{"name": "router", "typed_config": {"@type": router}}],
    }
    listener = {
        "name": "in",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    made = [cluster(name, upstream) for name, upstream in clusters.items()]
    return msgspec.json.encode({"static_resources": {"listeners": [listener], "clusters": made}})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def failing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that answers 500."""
    while (line := await reader.readline()) and line != b"\r\n":
        pass
    writer.write(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that dies with the request in its hands."""
    await reader.readline()
    writer.transport.abort()


@asynccontextmanager
async def envoy(folder: Path) -> AsyncIterator[int]:
    port = free_port()
    apps = {name: await asyncio.start_server(app, "127.0.0.1", 0) for name, app in APPS.items()}
    clusters = {name: app.sockets[0].getsockname()[1] for name, app in apps.items()}
    file = folder / "envoy.json"
    file.write_bytes(bootstrap(port, {**clusters, "refusing": free_port()}))
    assert ENVOY
    command = [ENVOY, "-c", str(file), "--disable-hot-restart", "--concurrency", "1", "-l", "error"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await until_open(port)
        yield port
    finally:
        process.kill()
        process.wait()
        for app in apps.values():
            app.close()
            await app.wait_closed()


APPS = {"failing": failing, "dying": dying}


async def until_open(port: int, deadline_s: float = 30) -> None:
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert time.monotonic() < deadline, "Envoy did not open its port"
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return await writer.wait_closed()


@pytest.mark.skipif(ENVOY is None, reason="no envoy for this platform")
def test_envoys_own_words_are_counted_as_they_should_be(tmp_path: Path) -> None:
    """A refused connection and a lost POST carry almost the same text; only one of them is excused."""

    async def run() -> dict[str, LoadResult]:
        async with envoy(tmp_path) as port:
            plan = LoadPlan(url=f"http://127.0.0.1:{port}/", rate_per_s=200, count_limit=100)
            hosts = (*APPS, "refusing")
            return {name: await run_load(msgspec.structs.replace(plan, host=name)) for name in hosts}

    results = asyncio.run(run())
    assert (results["failing"].app_5xx, results["failing"].failed_requests) == (100, 0)
    assert results["dying"].posts_lost_in_flight == results["dying"].posts == 20
    assert results["dying"].proxy_5xx == results["dying"].failed_requests == 80
    assert (results["refusing"].proxy_5xx, results["refusing"].posts_lost_in_flight) == (100, 0)
