"""Workloads in bubblewrap, on the real one."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="needs bubblewrap (apt-get install bubblewrap)"
)

PYTHON = "/usr/bin/python3"
BOX = {"network": True}


def spawn(house: Any, key: str, argv: list[str], box: dict[str, Any] | None = None, **spec: Any) -> None:
    log = f"{house.data}/logs/{key}.log"
    sandbox = BOX if box is None else box
    house.call(
        "spawn", spec={"key": key, "spec_hash": "h", "argv": argv, "log": log, "sandbox": sandbox, **spec}
    )


def test_a_hostile_app_cannot_read_the_data_folder_the_token_or_the_secrets(
    house: Any, tmp_path: Path
) -> None:
    """User code never sees Poise's data, nor another workload's secrets."""
    (house.data / "token").write_text("the-token")
    house.spawn("other", "import time; time.sleep(100)", env={"SECRET": "the-secret"})
    outside = Path("/var/tmp") / f"poise-test-{os.getpid()}"
    outside.write_text("the-masked-file")
    look = (
        f"cat {house.data}/token {house.data}/run/* /dev/shm/*/* {outside} {Path.home()}/.* /proc/*/environ"
    )
    script = f"{look} 2>&1; ls -A {house.data}; echo looked; touch /etc/x 2>&1"
    try:
        spawn(house, "a", ["sh", "-c", script], box={"masks": [str(outside)]}, restart="never")
        house.ended("a")
    finally:
        outside.unlink()
    log = house.log("a")
    assert "looked" in log
    for secret in ("the-token", "the-secret", "the-masked-file", "spec_hash"):
        assert secret not in log
    assert "Read-only file system" in log


def test_binds_come_on_top_of_masks_and_at_new_paths(house: Any) -> None:
    """A release lies in the masked data folder and is run at /app."""
    release = house.data / "releases" / "1"
    release.mkdir(parents=True)
    (release / "hello").write_text("from the release")
    script = "cat hello; touch here 2>&1; pwd"
    spawn(
        house,
        "a",
        ["sh", "-c", script],
        {"binds": [[str(release), "/app", "ro"]], "chdir": "/app"},
        restart="never",
    )
    assert house.ended("a")["code"] == 0
    assert "from the release" in house.log("a")
    assert "Read-only" in house.log("a")
    assert not (release / "here").exists()


def test_without_network_there_is_only_the_own_loopback(house: Any) -> None:
    """A step of an untrusted ref can reach nobody."""
    spawn(house, "a", ["cat", "/proc/net/dev"], {"network": False}, restart="never")
    assert house.ended("a")["code"] == 0
    devices = [line.split(":")[0].strip() for line in house.log("a").splitlines() if ":" in line]
    assert devices == ["lo"]


def test_a_stop_at_its_deadline_ends_the_whole_tree(house: Any, alive: Any) -> None:
    """SIGTERM to bwrap does nothing useful; SIGKILL to its namespace's pid 1 leaves nobody."""
    script = "trap 'echo asked' TERM; setsid sleep 4242 & while :; do sleep 0.05; done"
    spawn(house, "a", ["sh", "-c", script])
    app = house.until(lambda: house.process("a")["pid"])
    house.until(lambda: Path(f"/proc/{app}/comm").read_text() == "sh\n")  # first bwrap's own child, then it
    tree = house.until(lambda: inside(app) if len(inside(app)) >= 3 else None)
    house.call("stop", key="a", timeout_s=0.3)
    house.until(lambda: house.process("a")["state"] == "absent")
    house.until(lambda: not any(alive(pid) for pid in tree))
    assert "asked" in house.log("a")


@pytest.mark.parametrize(
    ("script", "how"), [("exit 7", {"code": 7}), ("kill -9 $$", {"signal": signal.SIGKILL})]
)
def test_an_exit_code_survives_the_keepers_death(house: Any, script: str, how: dict[str, int]) -> None:
    """A finished build must not be built again because nobody saw it end."""
    go = house.data / "go"
    go.mkdir()
    box = {"binds": [[str(go), "/go", "ro"]]}
    spawn(
        house,
        "a",
        ["sh", "-c", f"while [ ! -e /go/now ]; do sleep 0.01; done; {script}"],
        box,
        restart="never",
    )
    app = house.until(lambda: house.process("a")["pid"])
    house.kill()
    (go / "now").touch()
    house.until(lambda: not Path(f"/proc/{app}").exists())
    house.start()
    assert {k: house.ended("a")[k] for k in how} == how


def test_a_killed_app_is_replaced_and_its_pid_is_the_apps_own(house: Any, kill: Any) -> None:
    """The pid that is reported is the one that can be killed and traced."""
    script = (
        "import http.server, os, socketserver as s\n"
        "port = int(os.environ['PORT'])\n"
        "s.TCPServer(('127.0.0.1', port), http.server.BaseHTTPRequestHandler).serve_forever()"
    )
    spawn(house, "a", [PYTHON, "-c", script], port="fresh")
    first = house.serving("a")
    kill(first["pid"])
    second = house.serving("a", not_pid=first["pid"])
    assert second["last_exit"]["signal"] == signal.SIGKILL
    assert second["port"] != first["port"]


def test_a_secret_is_in_no_argv(house: Any) -> None:
    """Everybody on the machine may read argv."""
    spawn(house, "a", ["sleep", "100"], env={"SECRET": "s3cr3t-of-the-test"})
    house.until(lambda: house.process("a")["pid"])
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(b"s3cr3t-of-the-test" in line for line in lines)


def inside(pid: int) -> set[int]:
    """Return the pids of a process' pid namespace, as seen from outside."""
    wanted = Path(f"/proc/{pid}/ns/pid").readlink()
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/pid"):
        try:
            if path.readlink() == wanted:
                found.add(int(path.parts[2]))
        except OSError:
            continue
    return found
