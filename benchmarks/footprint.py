"""How soon the house is ready, how much memory it holds, how fast its commands answer."""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import sys
import time
from collections.abc import Callable

from bench.house import House, rss_mb, shop_files, until
from bench.loading import Loading
from bench.report import Goal, Report, run

SERVICES = ("storefront", "catalog", "payments")
GOALS = [
    Goal("ready_s_median", at_most=3.0),
    Goal("control_rss_mb", at_most=150.0),
    Goal("keeper_rss_mb", at_most=20.0),
    Goal("version_ms_median", at_most=150.0),
    Goal("status_ms_median", at_most=300.0),
]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--starts", type=int, default=5, help="fresh houses to start")
    parser.add_argument("--commands", type=int, default=15, help="runs of each command")
    parser.add_argument("--load-s", type=float, default=30.0, help="seconds of load before memory is read")


def measure(given: argparse.Namespace) -> Report:
    ready_s = [start_once() for _ in range(given.starts)]
    figures: dict[str, object] = {
        "ready_s_median": statistics.median(ready_s),
        "ready_s_max": max(ready_s),
    }
    with House("shop", shop_files()) as house:
        house.up()
        house.ship("feat: the shop", SERVICES)
        with Loading(house.ingress_port, "storefront.localhost", 100.0) as load:
            time.sleep(given.load_s)
        control, keeper = house.control_pid(), house.keeper_pid()
        assert control is not None and keeper is not None, "both were there a moment ago"
        figures["control_rss_mb"] = rss_mb(control)
        figures["keeper_rss_mb"] = rss_mb(keeper)
        figures["version_ms_median"] = median_ms(given.commands, lambda: house.poise("--version"))
        figures["status_ms_median"] = median_ms(given.commands, lambda: house.poise("status"))
        figures["requests_before"] = load.total["requests"]
    remarks = [
        "ready: from typing `poise up` in a fresh folder until it returned and Envoy accepts connections",
        f"memory: VmRSS in 10^6 bytes, three services live, after {given.load_s:g} s at 100 requests/s",
    ]
    return Report(figures, GOALS, remarks)  # type: ignore[arg-type]


def start_once() -> float:
    """Seconds from `poise up` in a fresh folder until it is back and the ingress accepts."""
    with House("shop", shop_files()) as house:
        shutil.rmtree(house.data, ignore_errors=True)
        began = time.monotonic()
        house.up()
        until(lambda: _accepts(house.ingress_port), 10.0, "Envoy accepts connections", pause_s=0.005)
        return time.monotonic() - began


def _accepts(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True


def median_ms(times: int, do: Callable[[], object]) -> float:
    """The median wall time of a command, in ms; the first run warms the file cache and is left out."""
    do()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        do()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


if __name__ == "__main__":
    sys.exit(run("footprint", measure, options))
