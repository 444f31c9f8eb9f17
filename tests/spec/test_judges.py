"""What judges a canary besides its requests: named in the file, and refused where it could not."""

from __future__ import annotations

import pytest

from poise.model.service import JudgedBy, OnUnproven
from poise.spec.explain import explain
from poise.spec.problems import Problems
from poise.spec.service import parse_project

TEXT = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: mail}
spec:
  command: run
  port: 8080
  rollout: {onUnproven: extend, latency: false, judgedBy: [{objective: NAME, label: version}]}
---
apiVersion: poise.dev/v1
kind: Project
metadata: {name: acme}
spec: {prometheus: {url: 'http://127.0.0.1:9090'}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: jobs}
spec:
  service: mail
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{target: 0.99}]
  indicator:
    metadata: {name: jobs}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: prometheus, spec: {query: 'jobs_total{outcome="failed"}'}}}
        total: {metricSource: {type: prometheus, spec: {query: jobs_total}}}
"""


def test_a_canary_may_be_judged_by_an_objective_of_its_service() -> None:
    """A worker has no requests; its own counters tell whether a release is worse."""
    declared = parse_project(TEXT.replace("NAME", "jobs"), project="acme")
    [one] = declared.services
    assert one.strategy.judged_by == (JudgedBy(objective="jobs", label="version"),)
    assert (one.strategy.on_unproven, one.strategy.latency) == (OnUnproven.EXTEND, False)
    rows = explain(one, declared.objectives, declared.project.policy)
    assert ("rollout.judgedBy", "jobs by label version", "declared") in rows
    assert ("rollout.onUnproven", "extend", "declared") in rows


@pytest.mark.parametrize(
    ("name", "said"), [("job", "no objective of service"), ("availability", "is not counted by query")]
)
def test_what_cannot_tell_rollouts_apart_cannot_judge_them(name: str, said: str) -> None:
    text = TEXT.replace("NAME", name)
    if name == "availability":  # its defaults are there where nothing is declared
        text = text.split("---")[0]
    with pytest.raises(Problems) as caught:
        parse_project(text, project="acme")
    assert said in str(caught.value) and "poise.yaml:7:" in str(caught.value)


def test_what_silence_means_is_declared_for_a_split_alone() -> None:
    """A rolling update waits for nobody's requests, so the key would mean nothing there."""
    from poise.spec.checks_strategy import BELONGS

    assert BELONGS["onSilence"] == BELONGS["probePath"] == BELONGS["onUnproven"]
