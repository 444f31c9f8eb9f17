"""Promotion, rollback, healing and draining while users send 200 requests per second; then a bad release."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench import shop
from bench.house import House, is_live, until
from bench.loading import Loading
from bench.report import Figure, Goal, Report, run

PHASES = ("promotion", "rollback", "healing", "draining")
PROMOTE_S = 240.0
KILL_PAUSE_S = 1.5
GOALS = [
    *(Goal(f"{phase}_failed_requests", at_most=0) for phase in PHASES),
    Goal("failed_requests", at_most=0),
    Goal("unsent_requests", at_most=0),
    Goal("bad_release_rolled_back", at_least=1),
    Goal("bad_release_rolled_back_s", at_most=60.0),
    Goal("bad_release_user_error_ratio", at_most=0.02),
]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    parser.add_argument("--kills", type=int, default=10, help="replicas killed in the healing phase")


@dataclass
class Stage:
    """The house, its load, and what was found."""

    house: House
    load: Loading
    kills: int
    figures: dict[str, Figure]


def measure(given: argparse.Namespace) -> Report:
    figures: dict[str, Figure] = {}
    with House("shop", shop.files()) as house:
        house.up()
        house.ship("feat: the shop", shop.SERVICES)
        with Loading(house.ingress_port, shop.HOST, given.rate) as load:
            time.sleep(3.0)
            stage = Stage(house, load, given.kills, figures)
            for phase, deed in zip(PHASES, (promote, roll_back, heal, drain), strict=True):
                count(stage, phase, deed)
            bad_release(stage)
            time.sleep(2.0)
        figures |= whole(load.total)
    remarks = [
        "failed: connection error, a 5xx that the app did not send, or no answer in 5 s; "
        "80 % GET, 20 % POST through Envoy's ingress",
        "POSTs in flight on a killed replica are counted apart (posts_lost_in_flight), never as failed",
        "the storefront's windows are shortened by its poise.yaml: " + shop.ROLLOUT.strip(),
    ]
    return Report(figures, GOALS, remarks)


def count(stage: Stage, phase: str, deed: Callable[[Stage], None]) -> None:
    """Do one phase and count what users met while it lasted, and a second after."""
    began = time.monotonic()
    deed(stage)
    took_s = time.monotonic() - began
    time.sleep(1.0)
    stage.load.settle()
    ended = time.monotonic()
    for field in ("requests", "failed_requests", "posts_lost_in_flight"):
        stage.figures[f"{phase}_{field}"] = stage.load.sum(field, began, ended)
    stage.figures[f"{phase}_took_s"] = took_s


def promote(stage: Stage) -> None:
    stage.house.write(shop.version("2"))
    stage.house.ship("feat: version 2", ("storefront",), PROMOTE_S)


def roll_back(stage: Stage) -> None:
    before = stage.house.service("storefront")["live"]["n"]
    stage.house.poise("rollback", "storefront", "--reason", "measured")

    def back() -> bool:
        status = stage.house.service("storefront")
        live = status["live"]
        return live is not None and live["n"] != before and is_live(status, live["commit"])

    until(back, PROMOTE_S, "the rollback is live")


def heal(stage: Stage) -> None:
    """Kill replicas in turn, each after it served long enough to be restarted at once."""
    for index in range(stage.kills):
        time.sleep(KILL_PAUSE_S)
        replicas = stage.house.replicas("storefront")
        os.kill(replicas[index % len(replicas)]["pid"], signal.SIGKILL)
    time.sleep(KILL_PAUSE_S)


def drain(stage: Stage) -> None:
    before = {one["pid"] for one in stage.house.replicas("storefront")}
    stage.house.poise("restart", "storefront", "--reason", "measured")

    def replaced() -> bool:
        now = stage.house.replicas("storefront")
        ready = sum(one["ready"] for one in stage.house.service("storefront")["replicas"])
        return len(now) >= 2 and ready >= 2 and not before & {one["pid"] for one in now}

    until(replaced, 120.0, "every replica is a new process")


def bad_release(stage: Stage) -> None:
    """Version 3 fails one request in five; times are the store's, errors are what users got."""
    house, load, figures = stage.house, stage.load, stage.figures
    house.write(shop.version("3", fail_one_in=5))
    pushed = time.monotonic()
    commit = house.commit("feat: version 3")
    house.push()

    def judged() -> dict[str, Any] | None:
        mine = [one for one in house.rollouts("storefront") if one["commit"] == commit]
        return next((one for one in mine if one["finished_at"]), None)

    rollout: dict[str, Any] = until(judged, PROMOTE_S, "version 3 is judged", pause_s=0.1)
    load.settle()
    ended = time.monotonic()
    trial = rollout["trial"]
    first_at, finished_at = trial["first_request_at"], rollout["finished_at"]
    lasted_s = (instant(finished_at) - instant(first_at)).total_seconds() if first_at else float("nan")
    since = max(pushed, ended - lasted_s - 1.0)
    requests = load.sum("requests", since, ended)
    errors = sum(
        load.sum(one, since, ended) for one in ("app_5xx", "failed_requests", "posts_lost_in_flight")
    )
    figures["bad_release_rolled_back"] = int(rollout["state"] == "rolled_back")
    figures["bad_release_rolled_back_s"] = lasted_s
    figures["bad_release_user_error_ratio"] = errors / requests if requests else float("nan")
    figures["bad_release_canary_requests"] = trial["canary_requests"]
    figures["bad_release_canary_errors"] = trial["canary_errors"]
    figures["bad_release_e_value"] = trial["e_value_harm"]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def whole(total: dict[str, Any]) -> dict[str, Figure]:
    """Of the load from beginning to end."""
    return {
        "requests": total["requests"],
        "rate_per_s": total["rate_per_s"],
        "failed_requests": total["failed_requests"],
        "posts_lost_in_flight": total["posts_lost_in_flight"],
        "unsent_requests": total["unsent"],
        "app_5xx": total["app_5xx"],
        "latency_ms_p50": total["latency_ms_p50"],
        "latency_ms_p95": total["latency_ms_p95"],
        "latency_ms_p99": total["latency_ms_p99"],
    }


if __name__ == "__main__":
    sys.exit(run("rollout_load", measure, options))
