"""Workloads in containers, on the real engines, with an image that the test builds."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20


@pytest.fixture
def box(engine: Any, cold_house: Any, httpd_image: str) -> Box:
    """A keeper that starts once the engine is chosen."""
    cold_house.start()
    return Box(cold_house, engine, httpd_image)


class Box:
    """One container under the key ``a``, by default the server of the image."""

    def __init__(self, house: Any, engine: Any, image: str) -> None:
        self.house, self.engine, self.image = house, engine, image

    def spawn(self, script: str = "", container: dict[str, Any] | None = None, **spec: Any) -> None:
        argv = ["/bin/sh", "-c", script] if script else []
        of = {"image": self.image, **(container or {})}
        log = f"{self.house.data}/logs/a.log"
        self.house.call(
            "spawn", spec={"key": "a", "spec_hash": "h", "argv": argv, "log": log, "container": of, **spec}
        )

    def said(self, script: str, container: dict[str, Any] | None = None, **spec: Any) -> str:
        """What a script that runs once wrote."""
        self.spawn(script, container, restart="never", **spec)
        self.house.ended("a")
        return str(self.house.log("a"))

    def left(self) -> bool:
        """Whether the engine knows of any container."""
        return bool(self.engine("ps", "--all", "--quiet"))


def client_of(app: int) -> int:
    """The engine's client: it carries the app's mark, and the words of its start."""
    words = Path(f"/proc/{app}/environ").read_bytes().split(b"\0")
    mark = next(word for word in words if word.startswith(b"POISE_NONCE="))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            argv = (folder / "cmdline").read_bytes().split(b"\0")
            if (
                b"run" in argv
                and argv[0] != b"/bin/sh"
                and mark in (folder / "environ").read_bytes().split(b"\0")
            ):
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError("no client")


def test_a_container_outlives_its_keeper_and_is_adopted(box: Box, alive: Any) -> None:
    """A kill -9 of the keeper fails no request; the next one knows exactly the same process."""
    box.spawn(port="fresh")
    before = box.house.serving("a")
    box.house.kill()
    assert alive(before["pid"])
    box.house.start()
    after = box.house.process("a")
    assert (after["pid"], after["start_time"], after["port"]) == (
        before["pid"],
        before["start_time"],
        before["port"],
    )
    assert after["restarts"] == 0


def test_how_it_ended_without_a_keeper_is_known_to_the_next(box: Box, alive: Any) -> None:
    """The exit code is on disk before anybody has to be there to hear it."""
    box.spawn("trap 'exit 5' TERM; echo up; sleep 100 & wait", restart="never")
    pid = box.house.until(lambda: "up" in box.house.log("a") and box.house.process("a")["pid"])
    box.house.kill()
    os.kill(pid, signal.SIGTERM)
    box.house.until(lambda: not box.left())
    box.house.start()
    assert box.house.ended("a")["code"] == 5


def test_a_killed_app_and_a_killed_client_are_both_started_again_and_leave_nothing(box: Box) -> None:
    """Whoever of the two dies, there is one server afterwards, on a fresh port."""
    box.spawn(port="fresh", backoff={"initial_s": 0})
    first = box.house.serving("a")
    os.kill(first["pid"], signal.SIGKILL)
    second = box.house.serving("a", not_pid=first["pid"])
    assert second["last_exit"]["signal"] == signal.SIGKILL
    os.kill(client_of(second["pid"]), signal.SIGKILL)
    third = box.house.serving("a", not_pid=second["pid"])
    assert len({first["port"], second["port"], third["port"]}) == 3
    box.house.until(lambda: len(box.engine("ps", "--all", "--quiet").split()) == 1)


@pytest.mark.parametrize("engine", ["docker"], indirect=True)
def test_what_a_daemon_took_down_with_it_is_started_again_once_it_is_back(box: Box, alive: Any) -> None:
    """An upgrade of docker ends its containers; nothing is left beside the ones that serve then."""
    box.spawn(port="fresh", backoff={"initial_s": 0.1, "cap_s": 0.1})
    before = box.house.serving("a")
    box.engine.fall()
    box.house.until(lambda: not alive(before["pid"]) and "Cannot connect to" in box.house.log("a"))
    box.engine.rise()
    box.house.serving("a", not_pid=before["pid"])
    box.house.until(lambda: len(box.engine("ps", "--all", "--quiet").split()) == 1)


def test_who_ignores_sigterm_is_killed_at_the_deadline(box: Box, alive: Any) -> None:
    """A stop ends, with everything that the container started."""
    box.spawn("trap '' TERM; echo up; while :; do sleep 0.1; done")
    pid = box.house.until(lambda: "up" in box.house.log("a") and box.house.process("a")["pid"])
    box.house.call("stop", key="a", timeout_s=0.3)
    box.house.until(lambda: not alive(pid) and box.house.process("a")["state"] == "absent")
    box.house.until(lambda: not box.left())


def test_a_stop_before_the_engine_has_started_it_leaves_nothing(box: Box) -> None:
    """The key is forgotten only with all that was begun under it."""
    box.spawn(port="fresh")
    box.house.call("stop", key="a", timeout_s=0)
    box.house.until(lambda: box.house.process("a")["state"] == "absent")
    box.house.until(lambda: not box.left())


def test_too_much_memory_is_told_as_such(box: Box) -> None:
    """A leak ends in a reason that a person can act on, not in a bare signal 9."""
    leak = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; sleep 0.02; done"
    box.spawn(leak, {"memory_bytes": 16 * MIB}, restart="never")
    ended = box.house.ended("a")
    assert (ended.get("signal"), ended.get("oom")) == (signal.SIGKILL, True)


def test_limits_reach_the_kernel(box: Box) -> None:
    """What was declared holds in the cgroup, whichever version the machine has."""
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    quota = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max"
    words = box.said(f"cat {files} {quota} 2>/dev/null", {"memory_bytes": 32 * MIB, "cpu": 0.5}).split()
    assert words[:2] == [str(32 * MIB), "50000"]


def test_it_has_no_capability_and_writes_only_where_it_may(box: Box) -> None:
    """Nothing privileged, whatever the image asks for."""
    look = "cat /proc/self/status; touch /here 2>&1; echo done"
    log = box.said(look, {"read_only": True})
    status = dict(line.split(":\t", 1) for line in log.splitlines() if ":\t" in line)
    assert {name: int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == dict.fromkeys(
        ("CapEff", "CapPrm", "CapBnd"), 0
    )
    assert status["NoNewPrivs"] == "1"
    assert "Read-only file system" in log


def test_secrets_reach_the_app_and_no_argv_nor_log(box: Box) -> None:
    """A command line is everybody's to read; values of several lines and odd signs arrive as they are."""
    env = {"TOKEN": "the secret # \"of\" 'signs' $X", "PEM": "first line\nsecond = line\n"}
    box.spawn('printf "%s|%s|" "$TOKEN" "$PEM"; sleep 100', env=env)
    box.house.until(lambda: box.house.log("a") == f"{env['TOKEN']}|{env['PEM']}|")
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in lines if b"the secret" in line or b"second = line" in line]
    assert b"the secret" not in (box.house.data / "run" / "keeper.journal").read_bytes()


def test_the_environment_of_the_machine_stays_outside(box: Box) -> None:
    """An app gets what it was given; the engine's client gets nothing of the app's."""
    log = box.said("env", env={"GIVEN": "1", "CONTAINERS_CONF": "/nowhere", "HOME": "/www"})
    variables = dict(line.split("=", 1) for line in log.splitlines())
    assert variables["GIVEN"] == "1"
    assert variables["HOME"] == "/www"
    assert "CONTAINERS_STORAGE_CONF" not in variables


def test_an_image_that_is_gone_ends_with_the_engines_own_words(box: Box) -> None:
    """The key stays, with its code and its log, so that a person sees why."""
    gone = "localhost/gone@sha256:" + "0" * 64
    own = {"podman": "image not known", "docker": "No such image"}
    assert own[box.engine.name] in box.said("true", {"image": gone})
    assert box.house.ended("a")["code"] == 125


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"container": {"image": "localhost/httpd:1"}}, "container.image"),
        ({"container": {"image": "x@sha256:" + "0" * 64, "privileged": True}}, "container.privileged"),
        ({"container": {"image": "x@sha256:" + "0" * 64, "memory_bytes": 1}}, "container.memory_bytes"),
        ({"container": {"image": "x@sha256:" + "0" * 64}, "rlimits": {"as": 1}}, "container"),
        ({"container": {"image": "x@sha256:" + "0" * 64}, "env": {"LD_PRELOAD": "a\nb"}}, "env"),
        ({"container": {"image": "x@sha256:" + "0" * 64}, "env": {"A B": "c"}}, "env"),
    ],
)
def test_what_no_container_may_be_is_refused_by_field(house: Any, change: dict[str, Any], field: str) -> None:
    """A tag can move, and a variable of the engine's own would lead its client astray."""
    answer = house.ask("spawn", token=1, spec={"key": "a", "spec_hash": "h", "argv": [], **change})
    assert answer["error"]["code"] == "bad_request"
    assert f"'{field}'" in answer["error"]["what"]
