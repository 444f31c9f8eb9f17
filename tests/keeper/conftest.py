"""A real keeper in a folder of its own, spoken to over its socket."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import poise.keeper

ENTRY = Path(poise.keeper.__file__).with_name("__main__.py")
SERVER = """
import os, socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(os.environ["PORT"]))); s.listen(64)
while True:
    c, _ = s.accept(); c.close()
"""


class House:
    """One data folder with its keeper, which may be killed and started again."""

    def __init__(self) -> None:
        self.data = Path(tempfile.mkdtemp(prefix="pk-", dir="/tmp"))
        self.keeper: subprocess.Popen[bytes] | None = None

    def start(self, **env: str) -> None:
        command = [sys.executable, "-I", "-S", str(ENTRY), "--data", str(self.data)]
        with (self.data / "keeper.out").open("ab") as out:
            self.keeper = subprocess.Popen(command, env={**os.environ, **env}, stdout=out, stderr=out)
        self.until(self.answers)

    def answers(self) -> bool:
        try:
            return bool(self.call("hello"))
        except OSError:
            return False

    def kill(self) -> None:
        assert self.keeper is not None
        self.keeper.kill()
        self.keeper.wait()

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as wire, wire.makefile("rwb") as file:
            wire.settimeout(10)
            wire.connect(str(self.data / "run" / "keeper.sock"))
            file.write(json.dumps({"id": 7, "op": op, **fields}).encode() + b"\n")
            file.flush()
            line = file.readline()
        if not line:
            raise ConnectionResetError("the keeper hung up")
        return json.loads(line)  # type: ignore[no-any-return]

    def call(self, op: str, token: int = 1, **fields: Any) -> dict[str, Any]:
        answer = self.ask(op, token=token, **fields)
        assert answer["ok"], answer
        return answer["result"]  # type: ignore[no-any-return]

    def spawn(self, key: str, script: str = SERVER, **spec: Any) -> dict[str, Any]:
        argv = [sys.executable, "-I", "-S", "-c", script]
        log = str(self.data / "logs" / f"{key}.log")
        full = {"key": key, "spec_hash": "h", "argv": argv, "log": log, **spec}
        return self.call("spawn", spec=full)["process"]  # type: ignore[no-any-return]

    def process(self, key: str) -> dict[str, Any]:
        found = [p for p in self.call("list")["processes"] if p["key"] == key]
        return found[0] if found else {"state": "absent", "pid": None, "connects": False}

    def until(self, claim: Callable[[], Any], within_s: float = 15.0) -> Any:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if found := claim():
                return found
            time.sleep(0.005)
        raise AssertionError(f"not within {within_s} s: {(self.data / 'keeper.out').read_text()[-2000:]}")

    def serving(self, key: str, not_pid: int | None = None) -> dict[str, Any]:
        def claim() -> dict[str, Any] | None:
            process = self.process(key)
            ready = process["connects"] and process["pid"] and process["pid"] != not_pid
            return process if ready else None

        return self.until(claim)  # type: ignore[no-any-return]

    def ended(self, key: str) -> dict[str, Any]:
        def claim() -> dict[str, Any] | None:
            process = self.process(key)
            return process if process["state"] == "exited" else None

        return self.until(claim)["last_exit"]  # type: ignore[no-any-return]

    def log(self, key: str) -> str:
        path = self.data / "logs" / f"{key}.log"
        return path.read_text() if path.exists() else ""

    def ports(self, cluster: str) -> list[int]:
        body = json.loads((self.data / "envoy" / f"{cluster}.json").read_text())
        found = body["resources"][0]["endpoints"][0]["lb_endpoints"]
        return [e["endpoint"]["address"]["socket_address"]["port_value"] for e in found]

    def template(self, *clusters: str) -> None:
        paths = {c: {"path": str(self.data / "envoy" / f"{c}.json"), "version": 1} for c in clusters}
        self.call("template", clusters=paths)

    def close(self) -> None:
        assert self.keeper is not None
        if self.keeper.poll() is not None:
            self.start()
        self.call("shutdown", token=self.call("hello")["token"], timeout_s=0)
        self.keeper.wait(timeout=20)
        shutil.rmtree(self.data)


@pytest.fixture
def house() -> Iterator[House]:
    """A keeper, answering."""
    house = House()
    house.start()
    yield house
    house.close()


@pytest.fixture
def cold_house() -> Iterator[House]:
    """A data folder whose keeper the test starts."""
    house = House()
    yield house
    house.close()


def alive(pid: int) -> bool:
    """Tell whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture(name="alive")
def alive_() -> Callable[[int], bool]:
    return alive


@pytest.fixture
def kill() -> Callable[[int], None]:
    """SIGKILL by pid."""
    return lambda pid: os.kill(pid, signal.SIGKILL)
