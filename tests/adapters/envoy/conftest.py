"""A real Envoy on free ports, with backends of ours and endpoints written as the keeper writes them."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from poise.adapters.envoy import config, launch
from poise.ports.traffic import Cluster, TrafficPlan, VirtualHost

SERVICE = "acme/production/shop"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def backend(name: str) -> ThreadingHTTPServer:
    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            if self.path == "/never":
                time.sleep(1.0)
            self.send_response(500 if self.path == "/bad" else 200)
            self.send_header("content-length", str(len(name)))
            self.end_headers()
            if self.path == "/late":
                time.sleep(0.5)
            with suppress(OSError):  # whoever asked may have left
                self.wfile.write(name.encode())

        do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Machine:
    """The folder, the ports and the process; ``plan`` builds a plan over rollouts 1 and 2."""

    def __init__(self, data: Path) -> None:
        self.data, self.ingress, self.port = data, free_port(), free_port()
        self.argv = launch.prepare(data, self.ingress)
        self.process = subprocess.Popen(self.argv)

    def restart(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = subprocess.Popen(self.argv)

    def endpoints(self, rollout: int, *ports: int) -> None:
        """As the keeper does: beside, then renamed."""
        path = config.endpoint_file(self.data / "envoy", f"{SERVICE}.{rollout}")
        members = [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
            for port in ports
        ]
        load = {
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": f"{SERVICE}.{rollout}",
            "endpoints": [{"lb_endpoints": members}],
        }
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps({"version_info": str(time.monotonic_ns()), "resources": [load]}))
        beside.rename(path)

    def plan(
        self,
        version: int,
        weights: dict[int, int],
        clusters: tuple[int, ...],
        http2: bool = False,
        timeout_s: float = 15.0,
    ) -> TrafficPlan:
        host = VirtualHost(
            service=SERVICE,
            hostnames=("shop.localhost",),
            port=self.port,
            weights=tuple((f"{SERVICE}.{n}", weight) for n, weight in weights.items()),
            clusters=tuple(Cluster(name=f"{SERVICE}.{n}", http2=http2) for n in clusters),
            request_timeout_s=timeout_s,
        )
        return TrafficPlan(version=version, ingress_port=self.ingress, hosts=(host,))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    found = Machine(tmp_path)
    yield found
    found.process.kill()
    found.process.wait()


@pytest.fixture
def serve() -> Iterator[Callable[[str], int]]:
    servers: list[ThreadingHTTPServer] = []

    def start(name: str) -> int:
        servers.append(backend(name))
        return int(servers[-1].server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
