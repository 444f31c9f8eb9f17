"""DORA's five figures: the same events in any order, twice or in parts, and 100,000 events in two seconds."""

from __future__ import annotations

import argparse
import random
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

from bench.report import Goal, Report, run

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.balance.scorecard.histories import START, generated

from poise.balance.scorecard.decide import DAY_S, FIGURES, Scorecard, decide
from poise.balance.scorecard.ledger import Ledger
from poise.model.record import Recorded

WINDOW_DAYS = 28
HISTORIES = 50  # each shuffled in turn
SERVICES = 20
GOALS = [
    Goal("shuffles", at_least=1000),
    Goal("differences", at_most=0),
    Goal("events", at_least=100_000),
    Goal("all_events_s", at_most=2.0),
]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shuffles", type=int, default=1000)
    parser.add_argument("--events", type=int, default=100_000)


def measure(given: argparse.Namespace) -> Report:
    kinds = dict.fromkeys(("any_order", "twice", "incremental"), 0)
    histories = [generated(seed) for seed in range(HISTORIES)]
    expected = [card_of(ledger_of(rows)) for rows in histories]
    valued = dict.fromkeys(FIGURES, 0)
    for card in expected:
        for figure in card.figures:
            valued[figure.name] += figure.value is not None
    for turn in range(given.shuffles):
        rows, want = histories[turn % HISTORIES], expected[turn % HISTORIES]
        chance = random.Random(turn)
        mixed = chance.sample(rows, len(rows))
        kinds["any_order"] += card_of(ledger_of(mixed)) != want
        doubled = [*rows, *mixed[: len(mixed) // 2]]
        chance.shuffle(doubled)
        kinds["twice"] += card_of(ledger_of(doubled)) != want
        kinds["incremental"] += card_of(in_parts(mixed, chance)) != want
    rows = long_history(given.events)
    began = time.process_time(), time.perf_counter()
    ledger = ledger_of(rows)
    added_s = time.perf_counter() - began[1]
    card = card_of(ledger, rows[-1].at)
    all_s, cpu_s = time.perf_counter() - began[1], time.process_time() - began[0]
    again = time.perf_counter()
    ledger.add(rows[-1:])
    card_of(ledger, rows[-1].at)
    return Report(
        {
            "shuffles": given.shuffles,
            "differences": sum(kinds.values()),
            **{f"differences_{kind}": count for kind, count in kinds.items()},
            "histories_with_a_value": valued,
            "events": len(rows),
            "deployments": sum(len(ledger.deployments(key)) for key in ledger.services("shop")),
            "all_events_s": all_s,
            "all_events_cpu_s": cpu_s,
            "taken_in_s": added_s,
            "one_more_event_s": time.perf_counter() - again,
            "deployments_in_window": card.figures[0].count,
        },
        GOALS,
    )


def ledger_of(rows: list[Recorded]) -> Ledger:
    ledger = Ledger()
    ledger.add(rows)
    return ledger


def in_parts(rows: list[Recorded], chance: random.Random) -> Ledger:
    """Figures are asked in between, so that what is kept from before is put to use."""
    ledger, cut = Ledger(), chance.randrange(len(rows))
    ledger.add(rows[:cut])
    card_of(ledger)
    ledger.add(rows[cut:])
    return ledger


def card_of(ledger: Ledger, end: datetime | None = None) -> Scorecard:
    until = end or START + timedelta(days=WINDOW_DAYS)
    every = [one for key in ledger.services("shop") for one in ledger.deployments(key)]
    return decide("shop", every, until, WINDOW_DAYS * DAY_S)


def long_history(events: int) -> list[Recorded]:
    """One project's years, of at least so many events."""
    deployments = events // 3
    while True:
        rows = generated(1, deployments, SERVICES)
        if len(rows) >= events:
            return rows[:events]
        deployments = deployments * 5 // 4


if __name__ == "__main__":
    sys.exit(run("dora_properties", measure, options))
