"""The keeper's promises, on real processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

WAIT = "import signal\nwhile True: signal.pause()\n"
COUNTS = "import os\nopen(os.environ['OUT'], 'a').write('ran\\n')\nimport signal\nsignal.pause()\n"


def test_a_killed_app_serves_again_on_a_fresh_port_and_its_endpoint_follows(house: Any, kill: Any) -> None:
    """The reflex must need nobody else: Poise may be dead at that time."""
    house.template("shop.1")
    house.spawn("a", port="fresh", cluster="shop.1")
    first = house.serving("a")
    house.until(lambda: house.ports("shop.1") == [first["port"]])
    kill(first["pid"])
    second = house.serving("a", not_pid=first["pid"])
    assert second["port"] != first["port"]
    assert second["restarts"] == 1
    assert second["last_exit"]["signal"] == signal.SIGKILL
    house.until(lambda: house.ports("shop.1") == [second["port"]])


def test_a_dead_app_leaves_its_endpoint_file_at_once(house: Any, kill: Any) -> None:
    """Envoy must not be sent to a port where nobody listens."""
    house.template("shop.1")
    house.spawn("a", port="fresh", cluster="shop.1", restart="never")
    house.until(lambda: house.ports("shop.1") == [house.serving("a")["port"]])
    kill(house.process("a")["pid"])
    assert house.ended("a")["signal"] == signal.SIGKILL
    assert house.ports("shop.1") == []


def test_the_same_key_spawned_twice_is_one_process(house: Any) -> None:
    """An intent is delivered at least once."""
    first = house.spawn("a", WAIT)
    second = house.spawn("a", WAIT)
    assert (second["pid"], second["start_time"]) == (first["pid"], first["start_time"])
    assert len(house.call("list")["processes"]) == 1


def test_a_key_in_use_refuses_other_content(house: Any) -> None:
    """A key names one content for ever; silently keeping the old would look like success."""
    house.spawn("a", WAIT)
    spec = {"key": "a", "spec_hash": "other", "argv": ["true"]}
    assert house.ask("spawn", token=1, spec=spec)["error"]["code"] == "conflict"


def test_a_finished_step_spawned_again_is_not_run_again(house: Any) -> None:
    """A build step or a migration must not run twice because its answer was lost."""
    out = house.data / "out"
    script = "import os\nopen(os.environ['OUT'], 'a').write('ran\\n')\nraise SystemExit(3)"
    house.spawn("step", script, restart="never", env={"OUT": str(out)})
    assert house.ended("step")["code"] == 3
    again = house.spawn("step", script, restart="never", env={"OUT": str(out)})
    assert (again["state"], again["last_exit"]["code"]) == ("exited", 3)
    assert out.read_text() == "ran\n"


def test_a_lower_token_is_refused_even_by_the_next_keeper(house: Any) -> None:
    """A leader that lost its lease must not act, however late its message comes."""
    house.spawn("a", WAIT)
    house.call("hold", token=9, key="a", in_rotation=True)
    house.kill()
    house.start()
    for op in ("spawn", "stop", "restart", "template", "hold", "shutdown", "upgrade", "detach"):
        refused = house.ask(op, token=8, key="a", spec={}, clusters={})
        assert refused["error"]["code"] == "stale_token", op
    assert house.process("a")["state"] == "running"


def test_a_killed_keeper_leaves_its_workloads_and_the_next_adopts_them(house: Any, kill: Any) -> None:
    """Fail-static: who watches may die, who serves may not."""
    house.template("shop.1")
    house.spawn("a", port="fresh", cluster="shop.1")
    before = house.serving("a")
    house.kill()
    assert Path(f"/proc/{before['pid']}").exists()
    house.start()
    after = house.process("a")
    assert [after[f] for f in ("pid", "start_time", "port", "connects")] == [
        before[f] for f in ("pid", "start_time", "port", "connects")
    ]
    assert house.ports("shop.1") == [before["port"]]
    kill(before["pid"])
    adopted = house.serving("a", not_pid=before["pid"])
    assert adopted["last_exit"]["unknown"] is True


def test_an_app_that_died_while_no_keeper_lived_is_started_again(house: Any, kill: Any) -> None:
    """Level-triggered: the next keeper compares what is recorded with what is."""
    house.spawn("a", port="fresh")
    before = house.serving("a")
    house.kill()
    kill(before["pid"])
    house.start()
    assert house.serving("a", not_pid=before["pid"])["restarts"] == 1


@pytest.mark.parametrize("point", ["after_fork", "after_record", "after_gate"])
def test_a_keeper_killed_between_fork_and_answer_never_leads_to_two(cold_house: Any, point: str) -> None:
    """The asker saw no answer and asks again: there must be exactly one, and it must have run once."""
    house = cold_house
    house.start(POISE_KEEPER_CRASH=point)
    out = house.data / "out"
    with pytest.raises((OSError, AssertionError)):
        house.spawn("a", COUNTS, env={"OUT": str(out)})
    assert house.keeper.wait(timeout=10) == -signal.SIGKILL
    house.start()
    house.spawn("a", COUNTS, env={"OUT": str(out)})
    house.until(lambda: out.exists() and out.read_text())
    mark = b"POISE_KEY=a"
    found = [
        p
        for p in Path("/proc").glob("[0-9]*/environ")
        if mark in _environ(p) and str(out) in str(_environ(p))
    ]
    assert len(found) == 1
    assert out.read_text() == "ran\n"


def test_a_stop_goes_out_of_rotation_then_terms_then_kills_at_the_deadline(house: Any, alive: Any) -> None:
    """A drain is polite first, and ends in any case, with everything the app started."""
    stubborn = (
        "import os, signal, socket, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True))\n"
        "child = subprocess.Popen(['sleep', '300']); print(child.pid, flush=True)\n"
        "s = socket.socket(); s.bind(('127.0.0.1', int(os.environ['PORT']))); s.listen()\n"
        "while True: signal.pause()\n"
    )
    house.template("shop.1")
    house.spawn("a", stubborn, port="fresh", cluster="shop.1")
    process = house.serving("a")
    house.call("stop", key="a", timeout_s=0.3, reason="test")
    assert house.ports("shop.1") == []
    house.until(lambda: "asked" in house.log("a"))
    house.until(lambda: house.process("a")["state"] == "absent")
    assert not alive(process["pid"])
    child = int(house.log("a").split()[0])
    house.until(lambda: not alive(child))


def test_restart_replaces_only_the_named_victim(house: Any) -> None:
    """A heal order for a process that is already gone must not hit its successor."""
    house.spawn("a", port="fresh")
    first = house.serving("a")
    os.kill(first["pid"], signal.SIGSTOP)
    stale = house.call(
        "restart", key="a", pid=first["pid"], start_time=first["start_time"] - 1, kill_now=True
    )
    assert stale["done"] is False
    order = {"key": "a", "pid": first["pid"], "start_time": first["start_time"], "kill_now": True}
    assert house.call("restart", **order)["done"] is True
    second = house.serving("a", not_pid=first["pid"])
    assert second["port"] != first["port"]
    assert house.call("restart", **order)["done"] is False
    assert house.process("a")["pid"] == second["pid"]


def test_hold_takes_a_replica_out_of_rotation_without_touching_it(house: Any) -> None:
    """Draining needs the endpoint gone and the process alive."""
    house.template("shop.1")
    house.spawn("a", port="fresh", cluster="shop.1")
    process = house.serving("a")
    house.call("hold", key="a", in_rotation=False)
    assert house.ports("shop.1") == []
    house.call("hold", key="a", in_rotation=True)
    assert house.ports("shop.1") == [process["port"]]
    assert house.process("a")["pid"] == process["pid"]


def test_an_upgrade_keeps_pids_and_children_stay_children(house: Any, kill: Any) -> None:
    """After execve the exit code of a workload is still known: it is the same parent."""
    house.spawn("a", WAIT)
    house.spawn("step", WAIT, restart="never")
    before, keeper = house.process("a"), house.call("hello")["pid"]
    house.call("upgrade")
    house.until(house.answers)
    assert house.call("hello")["pid"] == keeper
    assert house.process("a")["pid"] == before["pid"]
    assert int(Path(f"/proc/{before['pid']}/stat").read_text().rpartition(")")[2].split()[1]) == keeper
    kill(house.process("step")["pid"])
    assert house.ended("step")["signal"] == signal.SIGKILL


def test_an_upgrade_to_something_broken_is_refused(house: Any) -> None:
    """A machine without a keeper is worse than an old keeper."""
    assert (
        house.ask("upgrade", token=1, entry="/nonexistent/__main__.py")["error"]["code"] == "upgrade_failed"
    )
    assert house.answers()


def test_a_program_that_does_not_exist_backs_off_and_says_so(house: Any) -> None:
    """Never gives up, never spins."""
    house.call(
        "spawn", spec={"key": "a", "spec_hash": "h", "argv": ["/no/such"], "log": f"{house.data}/logs/a.log"}
    )
    house.until(lambda: house.process("a")["state"] == "backoff")
    assert "cannot start /no/such" in house.log("a")
    assert house.process("a")["last_exit"]["code"] == 127


def test_the_keeper_is_small(house: Any) -> None:
    """20 MB is the limit; every machine pays it."""
    for n in range(20):
        house.spawn(f"a{n}", "import time; time.sleep(100)")
    assert house.call("hello")["rss_kb"] < 20_000


def _environ(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
