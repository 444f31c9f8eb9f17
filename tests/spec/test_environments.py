"""Several environments: order, overrides, host names and objectives."""

from __future__ import annotations

from poise.model.service import Replicas
from poise.spec.service import Declared, parse_project


def parse(text: str) -> Declared:
    """The declarations of a project called acme."""
    return parse_project(text, project="acme")


STAGED = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec:
  command: python3 shop.py
  port: 8080
  dependsOn: [stock]
  environments:
    - name: staging
      overrides: {replicas: 1, env: {LEVEL: debug}}
    - name: production
---
apiVersion: poise.dev/v1
kind: Service
metadata: {name: stock}
spec:
  command: ./stock
  port: 9
  environments: [{name: dev}, {name: staging}, {name: production}]
---
apiVersion: poise.dev/v1
kind: Service
metadata: {name: worker}
spec: {command: ./work}
"""


def test_a_service_is_declared_once_per_environment_in_order() -> None:
    """Each environment has its own replicas and settings; the last one has the short host name."""
    declared = parse(STAGED)
    assert declared.project.environments == ("dev", "staging", "production")
    assert [(one.key, one.hostname) for one in declared.services] == [
        ("acme/staging/shop", "shop.staging.localhost"),
        ("acme/production/shop", "shop.localhost"),
        ("acme/dev/stock", "stock.dev.localhost"),
        ("acme/staging/stock", "stock.staging.localhost"),
        ("acme/production/stock", "stock.localhost"),
        ("acme/production/worker", None),
    ]
    staging, production = declared.services[:2]
    assert (staging.replicas, staging.env) == (Replicas(min=1, max=1), {"LEVEL": "debug"})
    assert (production.replicas, production.env) == (Replicas(), {})


def test_every_environment_has_objectives_of_its_own() -> None:
    """A budget spent in staging must not hold production, nor the other way round."""
    objective = """\
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: quick}
spec:
  service: shop
  budgetingMethod: Occurrences
  indicator:
    metadata: {name: quick}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: poise, spec: {counter: latency, thresholdMs: 100}}}
        total: {metricSource: {type: poise, spec: {counter: requests}}}
  objectives: [{target: 0.95}]
"""
    keys = [one.key for one in parse(STAGED + objective).objectives if "/shop/" in one.key]
    assert keys == [
        "acme/staging/shop/quick",
        "acme/staging/shop/availability",
        "acme/production/shop/quick",
        "acme/production/shop/availability",
    ]
