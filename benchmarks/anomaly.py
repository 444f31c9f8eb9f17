"""How well the anomaly score is calibrated, and how soon it sees a shift. Synthetic days, printed honestly.

Diurnal signals with noise and gaps: the share of scores above 0.99 and 0.95 on data without any fault, and
the delay until a lasting shift of given size (in standard deviations of the noise) has a score above 0.99.
Run: python benchmarks/anomaly.py [--json] [--seeds 20]
"""

import argparse
import json
import platform
import sys

import numpy as np

from poise.model.anomaly import UNUSUAL, Side, scores

STEP_S = 960.0
DAY = round(86_400 / STEP_S)
DAYS = 14
FALSE_POSITIVES = (0.005, 0.02)  # the stated interval for scores above 0.99


def signal(kind: str, days: int, random: np.random.Generator) -> np.ndarray:
    """One signal of so many days."""
    at = np.arange(days * DAY)
    wave = 1.0 + 0.6 * np.sin(2 * np.pi * at / DAY)
    if kind == "rate":
        return random.poisson(300 * wave).astype(float)
    if kind == "latency":
        return 80 * (1 + 0.2 * wave) * np.exp(random.normal(0, 0.1, len(at)))
    if kind == "errors":
        asked = random.poisson(3000 * wave) + 1
        return random.binomial(asked, 0.002) / asked
    heavy = random.standard_t(3, len(at))
    return 20 + 5 * wave + heavy


def with_gaps(values: np.ndarray, random: np.random.Generator) -> list[float | None]:
    """Five percent of the values are missing."""
    gone = random.random(len(values)) < 0.05
    return [None if missing else float(value) for missing, value in zip(gone, values, strict=True)]


def calibration(kind: str, seeds: int, days: int) -> dict[str, float]:
    """Shares of high scores where nothing is wrong."""
    high, higher, scored, asked = 0, 0, 0, 0
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        values = with_gaps(signal(kind, days, random), random)
        made = scores(values, STEP_S, Side.BOTH if kind == "rate" else Side.ABOVE)
        known = [one for one in made if one is not None]
        scored, asked = scored + len(known), asked + len(made)
        higher += sum(one > UNUSUAL for one in known)
        high += sum(one > 0.95 for one in known)
    return {
        "scored": scored,
        "of": asked,
        "above_0.99_ratio": higher / scored,
        "above_0.95_ratio": high / scored,
    }


def delay(kind: str, size: float, seeds: int) -> dict[str, float | None]:
    """How many values after a lasting shift the first score above 0.99 comes; None: not within a day."""
    found: list[int] = []
    for seed in range(seeds):
        random = np.random.default_rng(1000 + seed)
        values = signal(kind, DAYS, random)
        begin = (DAYS - 1) * DAY
        noise = np.std(np.diff(values)) / np.sqrt(2)
        values[begin:] += size * noise
        made = scores(with_gaps(values, random), STEP_S, Side.BOTH if kind == "rate" else Side.ABOVE)
        after = [n for n, one in enumerate(made[begin:]) if one is not None and one > UNUSUAL]
        if after:
            found.append(after[0])
    median = float(np.median(found)) if found else None
    return {
        "shift_sigma": size,
        "seen_ratio": len(found) / seeds,
        "median_values": median,
        "median_s": None if median is None else (median + 1) * STEP_S,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=20)
    asked = parser.parse_args()
    kinds = ("rate", "latency", "errors", "saturation")
    result = {
        "machine": platform.platform(),
        "step_s": STEP_S,
        "days": DAYS,
        "seeds": asked.seeds,
        "stated_interval_above_0.99": FALSE_POSITIVES,
        "seasonal": {kind: calibration(kind, asked.seeds, DAYS) for kind in kinds},
        "two_days_only": {kind: calibration(kind, asked.seeds, 3) for kind in kinds},
        "delay": {kind: [delay(kind, size, asked.seeds) for size in (1.0, 3.0, 6.0)] for kind in kinds},
    }
    low, high = FALSE_POSITIVES
    outside = [k for k in kinds if not low <= result["seasonal"][k]["above_0.99_ratio"] <= high]
    result["within_interval"] = not outside
    if asked.json:
        print(json.dumps(result, indent=2))
    else:
        for name in ("seasonal", "two_days_only"):
            for kind in kinds:
                row = result[name][kind]
                print(f"{name:14} {kind:11} above 0.99: {row['above_0.99_ratio']:.3%}, "
                      f"above 0.95: {row['above_0.95_ratio']:.3%} of {row['scored']} scores")  # fmt: skip
        for kind in kinds:
            for row in result["delay"][kind]:
                print(f"shift {row['shift_sigma']:g} sigma of {kind:11} seen in {row['seen_ratio']:.0%}, "
                      f"median after {row['median_s']} s")  # fmt: skip
        print("within the stated interval" if not outside else f"outside the interval: {', '.join(outside)}")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
