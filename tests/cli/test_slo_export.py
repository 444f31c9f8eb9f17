"""``poise slo export`` of our own files: rules for who stays with Prometheus, OpenSLO for who leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

OWN = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec: {command: ./shop, port: 8080}
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: orders}
spec: {service: shop, target: 0.999, good: 'orders_total{ok="1"}', total: orders_total}
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: regions}
spec: {service: shop, target: 0.99, boolean: up, groupBy: region, requires: orders}
"""


def test_what_is_declared_becomes_rules(poise: Callable[..., Any]) -> None:
    """The objectives that every service has anyway are Envoy's, and no rule can count them."""
    Path("poise.yaml").write_text(OWN)
    done = poise("slo", "export", "poise.yaml", "--json")
    assert done.code == 0, done.err
    names = [group["name"] for group in msgspec.json.decode(done.out)["groups"]]
    assert [name for name in names if "sli" in name] == [
        "sloth-slo-sli-recordings-shop-orders", "sloth-slo-sli-recordings-shop-regions",
    ]  # fmt: skip


def test_what_openslo_cannot_say_is_refused_unless_left_out(poise: Callable[..., Any]) -> None:
    """The mend in the message works as it stands."""
    Path("poise.yaml").write_text(OWN)
    done = poise("slo", "export", "poise.yaml", "--to", "openslo")
    assert done.code == 5 and "POISE-E236 'shop/regions'" in done.err and "poise.yaml:13:" in done.err
    done = poise("slo", "export", "poise.yaml", "--to", "openslo", "--only", "orders")
    assert done.code == 0 and "kind: SLO" in done.out
    Path("slo.yaml").write_text(done.out)
    assert poise("slo", "validate", "slo.yaml").code == 0
    assert poise("slo", "lint", "slo.yaml").code == 0
    assert poise("slo", "export", "poise.yaml", "--only", "nothing").code == 3
