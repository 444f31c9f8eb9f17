"""Kayenta's judge, number by number: R's ``wilcox.test`` where Kayenta is R, Kayenta's own words elsewhere.

``kayenta.csv`` holds what R said of the samples below; how to make it stands in ``kayenta.R``.
"""

from __future__ import annotations

import csv
from itertools import cycle, product
from pathlib import Path
from random import Random

import numpy as np
import pytest

from poise.delivery.rollout.kayenta import Classified, Label, Metric, classify, score, shift

GOLDENS = Path(__file__).with_name("kayenta.csv")
NAN = float("nan")
Points = list[float]

SIZES = ((5, 5), (7, 12), (30, 30), (60, 60), (50, 400), (400, 50), (2000, 2000), (5, 2000), (2000, 9))
KINDS = ("smooth", "latency", "ratio", "sparse", "few", "constant", "tail")
MOVED = (0, 1, 6, -4)  # the canary's, in each kind's own step


def points(kind: str, size: int, moved: int, random: Random) -> Points:
    """Whole numbers over whole numbers, so that every machine and R have the same bits."""
    draw = random.random
    match kind:
        case "smooth":  # bell-shaped, thousandths
            return [(int(1000 * (draw() + draw() + draw())) + 60 * moved) / 1000 for _ in range(size)]
        case "latency":  # ms with a long tail, hundreds of ties
            return [float(int(40 / (1.001 - draw())) + 9 * moved) for _ in range(size)]
        case "ratio":  # failed of a varying number of requests, a few percent
            chance = 0.03 * (1 + max(-0.9, 0.4 * moved))
            asked = [20 + int(60 * draw()) for _ in range(size)]
            return [sum(draw() < chance for _ in range(requests)) / requests for requests in asked]
        case "sparse":  # nine of ten nothing at all
            kept = 0.1 * (1 + max(-1.0, 0.3 * moved))
            return [(1 + int(9 * draw())) / 450 if draw() < kept else 0.0 for _ in range(size)]
        case "few":  # four values
            return [(int(4 * draw()) + moved) / 8 for _ in range(size)]
        case "tail":  # much less than the tolerance of the roots
            return [(int(100 * draw()) + 9 * moved) / 2**20 for _ in range(size)]
        case _:  # one value; of the baseline alone
            return [0.25] * size


def samples() -> dict[str, tuple[Points, Points]]:
    """Canary and baseline by name: each kind at each size, moved by turns."""
    found = {}
    for (kind, (n, m)), moved in zip(product(KINDS, SIZES), cycle(MOVED), strict=False):
        random = Random(f"{kind} {n} {m}")
        canary = points("few" if kind == "constant" else kind, n, moved, random)
        found[f"{kind} {n}:{m} moved {moved}"] = canary, points(kind, m, 0, random)
    return found


def goldens() -> list[dict[str, str]]:
    with GOLDENS.open() as lines:
        return list(csv.DictReader(line for line in lines if not line.startswith("#")))


@pytest.mark.parametrize("told", goldens(), ids=lambda told: told["sample"])
def test_interval_estimate_and_class_are_rs(told: dict[str, str]) -> None:
    """Down to the side of a jump on which the root is left: of small ratios that decides."""
    canary, baseline = samples()[told["sample"]]
    found = shift(np.array(canary), np.array(baseline))
    assert found is not None
    for name in ("low", "high", "estimate"):
        assert getattr(found, name) == pytest.approx(float(told[name]), rel=1e-4, abs=1e-12), name
    assert classify(baseline, canary).label == told["label"]


def test_the_goldens_are_of_every_kind_and_class() -> None:
    """A golden file that lost its rows would pass everything."""
    told = goldens()
    assert len(told) >= 60 and {one["label"] for one in told} == {"pass", "high", "low"}
    assert {one["sample"].split()[0] for one in told} == set(KINDS)


def test_the_estimate_keeps_the_correction_that_r_takes_out() -> None:
    """The one number in which Kayenta is not R: near by, and not the same."""
    found = {one["sample"]: (float(one["r_estimate"]), float(one["estimate"])) for one in goldens()}
    by_r, by_kayenta = found["latency 5:5 moved 1"]
    assert by_r == pytest.approx(by_kayenta, rel=0.02) and by_r != pytest.approx(by_kayenta, rel=0.01)


@pytest.mark.parametrize(
    ("control", "experiment", "label"),
    [
        ([1.0] * 10, [1.0] * 8, "pass"),  # one value in all
        ([1.0, 2.0, 3.0, 4.0] * 5, [4.0, 3.0, 2.0, 1.0] * 5, "pass"),  # the same values in another order
        ([0.0] * 30, [0.0] * 27 + [1.0] * 3, "pass"),  # sparse errors against none: kayenta#426
        ([0.001] * 10, [0.2] * 10, "high"),  # one value each
        ([0.0] * 10, [0.2] * 10, "high"),
        ([0.2] * 10, [0.0], "low"),
        ([0.0] * 10, [0.2], "error"),  # all tied at the shift, with and without the noise
        ([0.1], [0.2], "error"),
        ([1.0, 1.0], [1e-20, 2e-20], "error"),  # tied in the last bits
        ([], [1.0], "nodata"),
        ([NAN, NAN], [1.0], "nodata"),
        ([NAN, 1.0, 2.0], [2.0, 1.0, NAN], "pass"),
        ([1.0] * 30 + [500.0], [2.0] * 31, "pass"),  # higher by rank, lower by mean
    ],
)
def test_what_kayenta_decides_without_or_beside_the_interval(
    control: Points, experiment: Points, label: Label
) -> None:
    assert classify(control, experiment).label == label


LOW, HIGH = [1.0, 2.2, 1.1, 2.5, 3.0], [20.0, 22.0, 21.0, 25.0, 30.0]  # mean ratio 12.04, cles 1
NONE: Points = []


@pytest.mark.parametrize(
    ("control", "experiment", "metric", "found"),
    [
        (LOW, HIGH, Metric(direction="decrease"), ("pass", False)),
        (HIGH, LOW, Metric(direction="increase"), ("pass", False)),
        (LOW, HIGH, Metric(allowed=(1, 12.1)), ("pass", False)),
        (LOW, HIGH, Metric(allowed=(1, 12)), ("high", False)),
        (LOW, HIGH, Metric(effect="cles", allowed=(0.2, 1.0)), ("high", False)),
        (HIGH, LOW, Metric(effect="cles", allowed=(0.0, 0.8)), ("low", False)),
        (LOW, HIGH, Metric(critical=True), ("high", True)),
        (LOW, HIGH, Metric(critical=True, critical_from=(1, 13)), ("high", False)),
        (LOW, HIGH, Metric(critical=True, allowed=(1, 13), critical_from=(1, 2)), ("pass", False)),
        (HIGH, LOW, Metric(critical=True, critical_from=(0.5, 2)), ("low", True)),
        ([0.0] * 5, HIGH, Metric(allowed=(1, 99)), ("high", False)),  # no ratio, so none is asked for
        (LOW, NONE, Metric(critical=True), ("nodata", True)),
        (LOW, NONE, Metric(must_have_data=True), ("nodata_fails", False)),
        (LOW, NONE, Metric(must_have_data=True, critical=True), ("nodata", True)),
        (LOW, NONE, Metric(nan="replace", critical=True), ("pass", False)),
        ([NAN] * 5, HIGH, Metric(nan="replace"), ("high", False)),
    ],
)
def test_direction_effect_criticality_and_missing_points(
    control: Points, experiment: Points, metric: Metric, found: tuple[Label, bool]
) -> None:
    said = classify(control, experiment, metric)
    assert (said.label, said.is_critical) == found


def metric(label: Label, *groups: str, critical: bool = False) -> Classified:
    return Classified(label=label, is_critical=critical, groups=groups or ("a",))


@pytest.mark.parametrize(
    ("results", "weights", "points"),
    [
        ([metric("pass")], {}, 100),
        ([metric("high")], {}, 0),
        ([metric("pass"), metric("high"), metric("low")], {}, 33.33),
        ([metric("pass"), metric("nodata_fails")], {}, 50),
        ([metric("pass"), metric("error")], {}, 100),
        ([metric("error")], {}, 100),  # a group of which nothing counts is as good as passed
        ([metric("nodata")], {}, 0),
        ([metric("pass"), metric("nodata")], {}, 0),  # half without data is too much
        ([metric("pass"), metric("pass"), metric("nodata", "b")], {}, 100),
        ([metric("pass"), metric("high", "b")], {"a": 75, "b": 25}, 75),
        ([metric("pass"), metric("high", "b"), metric("pass", "c")], {"a": 40}, 70),
        ([metric("high"), metric("low"), metric("pass"), metric("high", "b")], {"a": 15, "b": 85}, 5),
        ([metric("pass", "a", "b"), metric("high", "b")], {}, 75),
        ([metric("pass"), metric("high", critical=True)], {}, 0),
        ([metric("low"), metric("pass", critical=True)], {}, 50),
        ([metric("pass")] * 3 + [metric("nodata", critical=True)], {}, 0),
        ([], {}, 0),
    ],
)
def test_the_score_is_the_weighted_share_of_what_passed(
    results: list[Classified], weights: dict[str, float], points: float
) -> None:
    assert score(results, weights) == points


if __name__ == "__main__":
    for name, arms in samples().items():
        print(name, *(" ".join(one.hex() for one in arm) for arm in arms), sep="\n")
