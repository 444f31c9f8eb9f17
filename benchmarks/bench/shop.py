"""The example shop with its windows shortened, so that a rollout takes seconds and not half an hour."""

from __future__ import annotations

import re

from bench.house import shop_files

SERVICES = ("storefront", "catalog", "payments")
HOST = "storefront.localhost"
ROLLOUT = (
    "  rollout: {steps: [20, 50], step: 4s, maxBake: 12s, warmup: 1s, drain: 5s, minCanaryRequests: 20,\n"
    "    onUnproven: promote}\n"
)
POLICY = """---
apiVersion: poise.dev/v1
kind: BudgetPolicy
metadata: {name: bench}
spec:
  slowSteps: [10, 25, 50]
  slowBakeFactor: 1
"""


def files(mark: str = "shop") -> dict[str, str]:
    """The shop at version 1; ``mark`` is in the environment of each of its processes."""
    found = shop_files()
    spec = found["poise.yaml"].replace("  health: /healthz\n", "  health: /healthz\n" + ROLLOUT)
    assert ROLLOUT in spec, "the shop's storefront is where it was"
    spec = spec.replace("  health: /healthz\n", f"  health: /healthz\n  env: {{POISE_BENCH: {mark}}}\n")
    return found | {"poise.yaml": spec + POLICY}


def version(text: str, fail_one_in: int = 0) -> dict[str, str]:
    """What a commit changes: the storefront's version and its planted bug."""
    source = shop_files()["version.py"]
    source = re.sub(r'VERSION = ".*"', f'VERSION = "{text}"', source)
    return {"version.py": re.sub(r"FAIL_ONE_IN = \d+", f"FAIL_ONE_IN = {fail_one_in}", source)}
