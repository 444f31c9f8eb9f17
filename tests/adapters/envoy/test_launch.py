"""What Envoy is started with, and what is said when it cannot be."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from poise.adapters.envoy import config, launch, xds
from poise.model.errors import Conflict
from poise.ports.runtime import Process, Workload
from poise.ports.traffic import TrafficPlan

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Keeper:
    """As much of the Runtime port as a start needs; a key with other content is refused."""

    def __init__(self) -> None:
        self.runs: dict[str, Workload] = {}

    async def list(self) -> Sequence[Process]:
        return [Process(key=key, spec_hash="", state="running") for key in self.runs]

    async def spawn(self, token: int, workload: Workload) -> Process:
        if self.runs.setdefault(workload.key, workload) != workload:
            raise Conflict("POISE-K1", "another content")
        return Process(key=workload.key, spec_hash="", state="running")

    async def stop(self, token: int, key: str, timeout_s: float | None = None, reason: str = "") -> None:
        del self.runs[key]


async def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path) -> None:
    """Envoy itself would start and serve nobody."""
    keeper = Keeper()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"Port {port}") as refused:
            await launch.ensure_envoy(tmp_path, keeper, 1, port)  # type: ignore[arg-type]
    assert str(port) in refused.value.mend and not keeper.runs


async def test_a_newer_program_takes_the_old_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade of the wheel the keeper still runs the old one."""
    keeper = Keeper()
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    await launch.ensure_envoy(tmp_path, keeper, 1, port)  # type: ignore[arg-type]
    monkeypatch.setenv("POISE_ENVOY", "/opt/envoy")
    await launch.ensure_envoy(tmp_path, keeper, 1, port)  # type: ignore[arg-type]
    assert keeper.runs["envoy"].argv[0] == "/opt/envoy"


def test_what_was_served_is_kept_and_another_ingress_port_is_taken_up(tmp_path: Path) -> None:
    """A restart must not forget the routes."""
    launch.prepare(tmp_path, 8080)
    folder = tmp_path / "envoy"
    for name, body in config.render(TrafficPlan(version=7, ingress_port=8080, hosts=()), folder).items():
        (folder / name).write_bytes(body)
    kept = (folder / xds.RDS).read_bytes()
    launch.prepare(tmp_path, 9090)
    listeners = json.loads((folder / xds.LDS).read_bytes())
    assert (folder / xds.RDS).read_bytes() == kept
    assert xds.plan_version(listeners["version_info"]) == 7
    assert listeners["resources"][0]["address"]["socket_address"]["port_value"] == 9090
