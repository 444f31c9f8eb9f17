"""From death to serving, and from hang to serving, beside what one would use instead."""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import patient
from bench.house import House, free_port, until
from bench.report import Figure, Goal, Report, percentile, run
from loop_lag import looking, prepare

SERVED_S = 1.3  # the keeper counts a death after less than 1 s of service as a crash loop; nobody else does
CONTENDERS = ("startup", "keeper", "loop", "supervisord")
HANGS = ("sigstop", "deadlock", "spin")
HANG_PATIENCE_S = 30.0
DASHBOARD_SERIES, DASHBOARD_HOURS = 10_000, 6.0
GOALS = [
    Goal("keeper_over_startup_ms_median", at_most=50.0),
    Goal("keeper_over_loop_ms_p95", at_most=150.0),
    *(Goal(f"{kind}_to_serving_s_max", at_most=5.0) for kind in HANGS),
]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=50, help="kills of each contender")
    parser.add_argument("--dashboards", type=int, default=0, help="that query metrics of the house meanwhile")
    parser.add_argument("--hangs", type=int, default=5, help="hangs of each kind")


def measure(given: argparse.Namespace) -> Report:
    took_ms = kills(given.kills, given.dashboards)
    startup_ms = took_ms.pop("startup")
    figures: dict[str, Figure] = {
        "kills_each": given.kills,
        "dashboards": given.dashboards,
        "startup_ms_median": statistics.median(startup_ms),
        "startup_ms_p95": percentile(startup_ms, 95),
    }
    for name, values in took_ms.items():
        figures[f"{name}_ms_median"] = statistics.median(values)
        figures[f"{name}_ms_p95"] = percentile(values, 95)
        figures[f"{name}_ms_max"] = max(values)
    median, p95 = statistics.median(took_ms["keeper"]), percentile(took_ms["keeper"], 95)
    figures["keeper_over_startup_ms_median"] = median - statistics.median(startup_ms)
    figures["keeper_over_loop_ms_p95"] = p95 - percentile(took_ms["loop"], 95)
    for kind, values in hangs(given.hangs).items():
        figures[f"{kind}_to_serving_s_median"] = statistics.median(values)
        figures[f"{kind}_to_serving_s_max"] = max(values)
    figures["hangs_each"] = given.hangs
    remarks = [
        "serving: HTTP 200 from the new process on a new connection; for the house through Envoy's ingress, "
        "from a sandbox and on a fresh port; for the loop and supervisord directly, on the app's fixed port",
        "startup: the plain app, spawned and asked in the same rounds, with nothing around it",
        f"the contenders are killed in turn, each after serving {SERVED_S} s or more, one replica each",
        "hang: every default of the probes; the new process of exactly that replica answers on its port",
    ]
    return Report(figures, GOALS, remarks)


# -- death ----------------------------------------------------------------------------------------


def start_once() -> float:
    """ms from spawning the plain app until it answers."""
    with app_folder() as folder:
        port = free_port()
        began = time.perf_counter()
        process = subprocess.Popen(["python3", "server.py"], cwd=folder, env=app_environment(port))
        try:
            patient.wait_for_other(port, "")
            return (time.perf_counter() - began) * 1000
        finally:
            process.kill()
            process.wait()


def kills(times: int, dashboards: int = 0) -> dict[str, list[float]]:
    """ms from SIGKILL to serving, by contender; they take turns."""
    took: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with ExitStack() as stack:
        house = stack.enter_context(House("heal", patient.files("patient", 1)))
        questions = prepare(house, DASHBOARD_SERIES, DASHBOARD_HOURS) if dashboards else []
        house.up()
        house.ship("feat: a patient", ("patient",))
        if dashboards:
            stack.enter_context(looking(house, dashboards, questions))
        loop = stack.enter_context(shell_loop())
        supervised = stack.enter_context(supervisord())
        dice = random.Random(1)
        for _ in range(times):
            time.sleep(SERVED_S + 0.2 * dice.random())
            took["keeper"].append(kill_replica(house))
            took["loop"].append(kill_plain(loop))
            took["supervisord"].append(kill_plain(supervised))
            took["startup"].append(start_once())
    return took


def kill_replica(house: House) -> float:
    """Through the ingress, as a user sees it."""
    before = patient.ask(house.ingress_port, "patient.localhost")
    victim = house.replicas("patient")[0]["pid"]
    began = time.perf_counter()
    os.kill(victim, signal.SIGKILL)
    patient.wait_for_other(house.ingress_port, before, "patient.localhost")
    return (time.perf_counter() - began) * 1000


def serves_anew(house: House, victim: dict[str, object]) -> bool:
    """Whether another process under the victim's key answers."""
    for one in house.replicas("patient"):
        if one["key"] == victim["key"] and one["pid"] != victim["pid"] and one["port"]:
            return bool(patient.ask(one["port"]))
    return False


def kill_plain(port: int) -> float:
    """The app tells its own pid: no sandbox hides it."""
    before = patient.ask(port)
    began = time.perf_counter()
    os.kill(int(before.split()[0]), signal.SIGKILL)
    patient.wait_for_other(port, before)
    return (time.perf_counter() - began) * 1000


@contextmanager
def shell_loop() -> Iterator[int]:
    """`while :; do python3 server.py; done`; its port."""
    with app_folder() as folder:
        port = free_port()
        process = subprocess.Popen(
            ["sh", "-c", "while :; do python3 server.py; done"],
            cwd=folder, env=app_environment(port), start_new_session=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            patient.wait_for_other(port, "")
            yield port
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def supervisord() -> Iterator[int]:
    """supervisord 4.3 with its defaults; its program's port."""
    with app_folder() as folder:
        port = free_port()
        conf = folder / "supervisord.conf"
        conf.write_text(
            f"[supervisord]\nnodaemon=true\nlogfile={folder}/supervisord.log\n"
            f"pidfile={folder}/supervisord.pid\nchildlogdir={folder}\n"
            f"[program:patient]\ncommand=python3 server.py\ndirectory={folder}\nautorestart=true\n"
        )
        command = [str(Path(sys.executable).parent / "supervisord"), "-c", str(conf)]
        process = subprocess.Popen(
            command, env=app_environment(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            patient.wait_for_other(port, "")
            yield port
        finally:
            process.terminate()
            process.wait(15)


@contextmanager
def app_folder() -> Iterator[Path]:
    """A folder with the app in it."""
    with tempfile.TemporaryDirectory(prefix="poise-bench-") as name:
        (Path(name) / "server.py").write_text(patient.SERVER)
        yield Path(name)


def app_environment(port: int) -> dict[str, str]:
    """What the keeper gives too: no bytecode written, output unbuffered."""
    return {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


# -- hang -----------------------------------------------------------------------------------------


def hangs(times: int) -> dict[str, list[float]]:
    """s from hang to serving, by kind; each hang takes a replica that was never healed before."""
    took: dict[str, list[float]] = {kind: [] for kind in HANGS}
    if not times:
        return {kind: [float("nan")] for kind in HANGS}
    with House("hang", patient.files("patient", times * len(HANGS))) as house:
        house.up()
        house.ship("feat: patients", ("patient",))
        dice = random.Random(1)
        victims = house.replicas("patient")
        for index, victim in enumerate(victims[: times * len(HANGS)]):
            kind = HANGS[index % len(HANGS)]
            time.sleep(1.0 + dice.random())  # any phase of the probes
            took[kind].append(hang(house, victim, DEEDS[kind]))
    return took


def hang(house: House, victim: dict[str, object], deed: Callable[[int, int], None]) -> float:
    """Hang one replica and wait for its successor."""
    began = time.perf_counter()
    deed(int(str(victim["pid"])), int(str(victim["port"])))
    until(lambda: serves_anew(house, victim), HANG_PATIENCE_S, "a successor serves", pause_s=0.02)
    return time.perf_counter() - began


DEEDS: dict[str, Callable[[int, int], None]] = {
    "sigstop": lambda pid, port: os.kill(pid, signal.SIGSTOP),
    "deadlock": lambda pid, port: ask_and_leave(port, "/deadlock"),
    "spin": lambda pid, port: ask_and_leave(port, "/spin"),
}


def ask_and_leave(port: int, path: str) -> None:
    """Send the request that hangs the app; nobody waits for its answer."""
    patient.ask(port, path=path, patience_s=0.01)


if __name__ == "__main__":
    sys.exit(run("heal_speed", measure, options))
