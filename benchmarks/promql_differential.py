"""Random PromQL over random series, beside Prometheus 2.42: where do the answers differ?

    python benchmarks/promql_differential.py [--count 1000] [--seed 1] [--json]

Prometheus 3 changed what follows, so data and expressions stay clear of it, by rule: windows are open on
their left (no sample and no subquery step lies on an edge: samples are 7 s off the 15 s grid, subqueries end
in 5 s), a counter's zero point is weighed after the threshold (counters stay far above zero, resets included,
and only they are asked for rates), names are dropped at the end (no expression asks for ``__name__``). 2.42
moves the window of predict_linear(x @ t) along with the steps, so it is not asked.
Two differences remain and are counted apart: the deviation of an infinite value is NaN since 3, it was 0
where the value stood alone; and the date of a NaN or an infinity is NaN here, where Go leaves it to the
processor.
Needs Debian's prometheus (apt-get install prometheus); exit 2 without it. Goal: 0 differences unexplained.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from poise.adapters.memory_samples import MemorySamples
from poise.adapters.promql import Engine
from poise.adapters.promql.text import number
from poise.model.errors import PoiseError
from poise.model.samples import Labels

BASE_S = 1_700_000_100  # a multiple of 900
HOURS_S = 3 * 3600
STEP_S, SHIFT_S = 15, 7
TOLERANCE = 1e-9
STARTS_IN_S = 30.0

OVER_RANGES = (
    *("delta", "idelta", "deriv", "changes", "resets", "sum_over_time", "avg_over_time", "min_over_time"),
    *("max_over_time", "count_over_time", "last_over_time", "stddev_over_time", "stdvar_over_time"),
    "present_over_time",
)
Rows = dict[Labels, dict[int, float]]


def main() -> int:
    """Print what differs; 0 where nothing does, 1 where something does, 2 without a Prometheus."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    arguments.add_argument("--count", type=int, default=1000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        print("there is no prometheus; run: apt-get install prometheus")
        return 2
    chance = random.Random(given.seed)
    data = series(chance)
    samples = MemorySamples()
    for labels, points in data.items():
        samples.add(labels, [(at * 1000, value) for at, value in points])
    differing, answered, refused, explained = [], 0, 0, 0
    with tempfile.TemporaryDirectory() as folder, Prometheus(Path(folder), data) as peer:
        for _ in range(given.count):
            expression = Writer(chance).vector(chance.randint(1, 4))
            why, rows = compared(expression, Engine(samples), peer)
            answered += rows > 0
            refused += rows < 0
            if why and is_explained(expression, why):
                explained += 1
            elif why:
                differing.append({"expression": expression, "why": why})
                if not given.json:
                    print(f"{expression}\n    {why}", flush=True)
    report = {
        "expressions": given.count, "seed": given.seed, "with_rows": answered, "refused_by_both": refused,
        "explained": explained, "unexplained": len(differing), "met": not differing,
    }  # fmt: skip
    print(json.dumps(report | ({"differing": differing} if given.json else {})))
    return 0 if not differing else 1


def series(chance: random.Random) -> dict[Labels, list[tuple[int, float]]]:
    """Counters with resets, gauges with gaps and NaN, a classic histogram: (UTC seconds, value)."""
    instants = range(BASE_S + SHIFT_S, BASE_S + HOURS_S, STEP_S)
    data: dict[Labels, list[tuple[int, float]]] = {}
    for job in ("shop", "pay"):
        for code in ("200", "404", "500"):
            value, points = 1e6, []
            for at in instants:
                value = (
                    value - 3e5 if chance.random() < 0.004 and value > 9e5 else value + chance.randint(0, 40)
                )
                points.append((at, float(value)))
            data[_labels("requests_total", job=job, code=code)] = points
        for room in "abc":
            data[_labels("heat", job=job, room=room)] = [
                (at, math.nan if chance.random() < 0.003 else chance.uniform(-50, 50))
                for at in instants
                if (at // 600) % 7 != ord(room) % 7
            ]
        counts = [1e6, 2e6, 3e6, 4e6]
        buckets: dict[str, list[tuple[int, float]]] = {bound: [] for bound in ("0.1", "0.5", "2", "+Inf")}
        for at in instants:
            added = sorted(chance.randint(1, 30) for _ in counts)
            counts = [count + more for count, more in zip(counts, added, strict=True)]
            for bound, count in zip(buckets, counts, strict=True):
                buckets[bound].append((at, count))
        data |= {_labels("lat_bucket", job=job, le=bound): points for bound, points in buckets.items()}
    return data


def _labels(name: str, **labels: str) -> Labels:
    return tuple(sorted({"__name__": name, **labels}.items()))


class Writer:
    """Expressions that both may answer."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def vector(self, depth: int) -> str:
        if depth <= 0:
            return self.selector() + self.moved()
        made = self.chance.choice(
            (self.over_range, self.over_range, self.function, self.aggregation, self.arithmetic, self.joined,
             self.with_number, self.quantile, self.subquery, self.sets)
        )  # fmt: skip
        return made(depth - 1)

    def selector(self) -> str:
        name = self.chance.choice(("requests_total", "heat"))
        other = {"requests_total": 'code=~"2..|5.."', "heat": 'room!="a"'}[name]
        return name + self.chance.choice(("", '{job="shop"}', f"{{{other}}}", f'{{job!~"p.*",{other}}}'))

    def moved(self) -> str:
        at = BASE_S + HOURS_S - 900
        return self.chance.choice(
            ("", "", "", " offset 10m", " offset -5m", f" @ {at}", " @ start()", " @ end()")
        )

    def window(self) -> str:
        return self.chance.choice(("1m", "5m", "17m30s", "1h"))

    def over_range(self, _: int) -> str:
        if self.chance.random() < 0.25:
            counter = self.chance.choice(("requests_total", 'requests_total{code=~"2..|5.."}'))
            name = self.chance.choice(("rate", "increase", "irate"))
            return f"{name}({counter}[{self.window()}]{self.moved()})"
        name = self.chance.choice(OVER_RANGES)
        if self.chance.random() < 0.1:
            q = self.chance.randint(1, 9) / 10
            return f"quantile_over_time({q}, {self.selector()}[{self.window()}]{self.moved()})"
        if self.chance.random() < 0.1:
            return f"predict_linear({self.selector()}[{self.window()}], 600)"
        return f"{name}({self.selector()}[{self.window()}]{self.moved()})"

    def function(self, depth: int) -> str:
        inner = self.vector(depth)
        name = self.chance.choice(
            [
                "abs",
                "ceil",
                "floor",
                "exp",
                "sqrt",
                "ln",
                "log2",
                "sgn",
                "timestamp",
                "hour",
                "day_of_week",
                "-",
            ]
        )
        if self.chance.random() < 0.25:
            return f"clamp({inner}, -10, 1000)"
        return f"-({inner})" if name == "-" else f"{name}({inner})"

    def aggregation(self, depth: int) -> str:
        by = self.chance.choice(("", " by (job)", " without (job)", " by (job, room, code)"))
        name = self.chance.choice(["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"])
        inner = self.vector(depth)
        if self.chance.random() < 0.15:
            return f"quantile{by} (0.{self.chance.randint(0, 9)}, {inner})"
        return f"{name}{by} ({inner})"

    def arithmetic(self, depth: int) -> str:
        by = self.chance.choice(("job", "job, code, room"))
        op = self.chance.choice(("+", "-", "*", "/", ">", "<=", "> bool", "=="))
        return f"(avg by ({by}) ({self.vector(depth)}) {op} max by ({by}) ({self.vector(depth)}))"

    def joined(self, depth: int) -> str:
        return f"({self.vector(depth)} / on (job) group_left () sum by (job) ({self.vector(depth)}))"

    def with_number(self, depth: int) -> str:
        op = self.chance.choice(("+", "-", "*", "/", "%", ">", "<", "!= bool"))
        return f"({self.vector(depth)} {op} {self.chance.choice(('2', '0.5', '-3', 'time()', '1e6'))})"

    def quantile(self, _: int) -> str:
        q = self.chance.choice(("0", "0.5", "0.9", "0.99", "1", "1.5"))
        return f"histogram_quantile({q}, sum by (job, le) (rate(lat_bucket[{self.window()}])))"

    def subquery(self, depth: int) -> str:
        name = self.chance.choice(
            ["max_over_time", "min_over_time", "sum_over_time", "count_over_time", "last_over_time"]
        )
        return f"{name}({self.vector(min(depth, 1))}[10m5s:{self.chance.choice(('30s', '1m'))}])"

    def sets(self, depth: int) -> str:
        op = self.chance.choice(("and", "or", "unless", "and on (job)", "unless on (job)"))
        return f"({self.vector(depth)} {op} {self.vector(depth)})"


class Prometheus:
    """Debian's Prometheus over the data, on a free loopback port; ended by its pid."""

    def __init__(self, folder: Path, data: dict[Labels, list[tuple[int, float]]]) -> None:
        self.folder = folder
        lines = []
        for labels, points in data.items():
            name = dict(labels)["__name__"]
            text = ",".join(f'{key}="{value}"' for key, value in labels if key != "__name__")
            lines += [f"{name}{{{text}}} {number(value)} {at}" for at, value in points]
        (folder / "data.txt").write_text("\n".join(lines) + "\n# EOF\n")
        (folder / "none.yml").write_text("{}")
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "data.txt", "tsdb"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"

    def __enter__(self) -> Prometheus:
        command = [
            "prometheus", "--config.file=none.yml", "--storage.tsdb.path=tsdb",
            "--storage.tsdb.retention.time=100y", f"--web.listen-address={self.address}",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, cwd=self.folder, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + STARTS_IN_S
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=2).read()
                return self
            except OSError:
                time.sleep(0.1)
        self.process.kill()
        raise RuntimeError("prometheus did not become ready")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)

    def range(self, expression: str, start: int, end: int, step: int) -> Rows | None:
        """Its answer, or None where it refuses."""
        form = urllib.parse.urlencode(
            {"query": expression, "start": start, "end": end, "step": step}
        ).encode()
        try:
            with urllib.request.urlopen(
                f"http://{self.address}/api/v1/query_range", form, timeout=60
            ) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError:
            return None
        return {
            tuple(sorted(one["metric"].items())): {round(at): float(value) for at, value in one["values"]}
            for one in found["data"]["result"]
        }


def compared(expression: str, engine: Engine, peer: Prometheus) -> tuple[str, int]:
    """What differs (empty where nothing does), and how many rows there are; -1 where both refuse."""
    start, end, step = BASE_S + 2 * 3600, BASE_S + HOURS_S - 600, 300
    theirs = peer.range(expression, start, end, step)
    ours: Rows | None
    refusal = ""
    try:
        frame = engine.range(expression, start * 1000, end * 1000, step * 1000)
        rows = zip(frame.series, frame.values.tolist(), frame.present.tolist(), strict=True)
        at_s = (frame.at_ms // 1000).tolist()
        ours = {
            labels: {at: value for at, value, there in zip(at_s, values, present, strict=True) if there}
            for labels, values, present in rows
        }
    except PoiseError as error:
        ours, refusal = None, str(error)
    if ours is None or theirs is None:
        return ("" if ours is theirs else f"refused by one: {refusal or 'prometheus'}"), -1
    if set(ours) != set(theirs):
        return f"rows {sorted(set(ours) ^ set(theirs))[:3]}", len(theirs)
    for labels, row in theirs.items():
        if set(row) != set(ours[labels]):
            return f"{labels}: steps differ", len(theirs)
        for at, value in row.items():
            if not same(value, ours[labels][at]):
                return f"{labels} at {at}: theirs {value!r}, ours {ours[labels][at]!r}", len(theirs)
    return "", len(theirs)


def is_explained(expression: str, why: str) -> bool:
    """Whether it is one of the two differences that expressions cannot keep clear of."""
    deviation = ("stddev" in expression or "stdvar" in expression) and "theirs 0.0, ours nan" in why
    date = ("hour(" in expression or "day_of_week(" in expression) and why.endswith("ours nan")
    return deviation or date


def same(theirs: float, ours: float) -> bool:
    """Equal up to rounding."""
    if math.isnan(theirs) or math.isnan(ours):
        return math.isnan(theirs) and math.isnan(ours)
    return theirs == ours or math.isclose(theirs, ours, rel_tol=TOLERANCE, abs_tol=1e-9)


if __name__ == "__main__":
    sys.exit(main())
