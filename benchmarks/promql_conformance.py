"""How much of Prometheus' own PromQL tests Poise passes.

    python benchmarks/promql_conformance.py TESTDATA_DIR [--json] [--failures]

TESTDATA_DIR is ``promql/promqltest/testdata`` of a Prometheus checkout (3.14); it is no part of Poise.
Left out, and counted by reason beside the total: evaluations over native histograms, and expressions that
promql-parser cannot parse. Goals: at least 1,143 scored, 98.5 % of them right.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from bench.promqltest import Outcome, run_file

SCORED_GOAL = 1143
RIGHT_GOAL = 0.985


def main() -> int:
    """Print the table; 1 where a goal is missed, 2 where there is nothing to run."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--failures", action="store_true", help="print each failing evaluation")
    given = arguments.parse_args()
    files = sorted(given.folder.glob("*.test"))
    if not files:
        print(f"no .test files in {given.folder}; give promql/promqltest/testdata of a Prometheus checkout")
        return 2
    outcomes: dict[str, list[Outcome]] = {}
    for path in files:
        outcomes[path.stem] = run_file(path)
        if not given.json:
            found = Counter(one.verdict for one in outcomes[path.stem])
            print(f"{path.stem:24} {dict(found)}", flush=True)
    everything = [one for found in outcomes.values() for one in found]
    verdicts = Counter(one.verdict for one in everything)
    right, wrong = verdicts["right"], verdicts["wrong"]
    scored = right + wrong
    notes = [one.notes_right for one in everything if one.notes_right is not None]
    report = {
        "evaluations": len(everything),
        "scored": scored,
        "right": right,
        "right_ratio": round(right / max(1, scored), 4),
        "right_of_all_ratio": round(right / max(1, len(everything)), 4),
        "left_out": {key: value for key, value in verdicts.items() if key not in ("right", "wrong")},
        "annotations_scored": len(notes),
        "annotations_right": sum(notes),
        "met": scored >= SCORED_GOAL and right / max(1, scored) >= RIGHT_GOAL,
    }
    if given.failures:
        for stem, found in outcomes.items():
            for one in found:
                if one.verdict == "wrong":
                    print(f"{stem}.test:{one.line}: {one.expression}\n    {one.why}")
    print(json.dumps(report) if given.json else json.dumps(report, indent=2))
    return 0 if report["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
