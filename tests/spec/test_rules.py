"""Rule files as Prometheus writes them: what is read, and what is refused with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.model.rules import Rule, RuleGroup
from poise.spec.problems import Problems
from poise.spec.rule_tests import parse_rule_tests
from poise.spec.rules import ExpressionFault, parse_rules, read_rule_files
from poise.spec.service import Declared, parse_project

FILE = """groups:
  - name: latency
    interval: 30s
    query_offset: 1m
    limit: 10
    labels: {team: web}
    rules:
      - record: job:requests:rate5m
        expr: sum by (job) (rate(requests_total[5m]))
      - alert: Slow
        expr: |
          histogram_quantile(0.9, x)
            > 0.5
        for: 1h30m
        keep_firing_for: 5m
        labels: {severity: page, level: 3}
        annotations:
          summary: '{{ $labels.job }} takes {{ $value | humanizeDuration }}'
"""


def parsed(text: str, check: object = None) -> tuple[RuleGroup, ...]:
    return parse_rules(text, project="shop", path="rules/a.yml").groups


def test_a_rule_file_of_prometheus_is_read_as_it_is() -> None:
    """Teams bring the files they have."""
    (group,) = parsed(FILE)
    assert (group.name, group.interval_s, group.query_offset_s, group.limit) == ("latency", 30.0, 60.0, 10)
    assert group.labels == {"team": "web"}
    assert group.rules[0] == Rule(
        record="job:requests:rate5m", expr="sum by (job) (rate(requests_total[5m]))"
    )
    alert = group.rules[1]
    assert (alert.for_s, alert.keep_firing_for_s, alert.labels["level"]) == (5400.0, 300.0, "3")


def test_an_empty_file_has_no_groups() -> None:
    assert parsed("") == () == parsed("groups: []\n")


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (("expr: sum", "exp: sum"), "rules/a.yml:9:9"),
        (("interval: 30s", "interval: 30"), "'interval': '30' is not a duration"),
        (("query_offset", "query_ofset"), "Did you mean 'query_offset'?"),
        (("record: job:requests:rate5m", "record: job-requests"), "rules/a.yml:8:17"),
        (("$labels.job", "$lables.job"), "there is no variable '$lables'"),
        (("humanizeDuration", "humaniseDuration"), "Did you mean 'humanizeDuration'?"),
        (("{{ $value", "{{ template \"x\" }}{{ $value"), "'template' is not supported in a rule"),
        (("alert: Slow", "foo: Slow"), "unknown key 'foo'"),
        (("- alert: Slow", "- alert: Slow\n        record: x"), "a rule cannot both record and alert"),
        (("severity: page", "__name__: page"), "is set by the rule itself"),
        (("rate5m\n", "rate5m\n        for: 5m\n"), "'for' has no meaning for a recording rule"),
        (("      - record", "      - expr: up\n      - record"), "a rule either records or alerts"),
        (("groups:\n", "groups:\n  - {name: latency}\n"), "the group 'latency' is declared twice"),
        (("limit: 10", "limit: ten"), "'limit'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(edit: tuple[str, str], told: str) -> None:
    """A rule that is not understood must not be dropped: nobody would be paged."""
    with pytest.raises(Problems) as raised:
        parsed(FILE.replace(*edit))
    assert told in str(raised.value)
    assert all(one.where.startswith("rules/a.yml:") for one in raised.value.problems)


def test_the_place_in_a_template_is_its_own() -> None:
    with pytest.raises(Problems) as raised:
        parsed(FILE.replace("$value | humanizeDuration", "$value | humaniseDuration"))
    assert raised.value.where == "rules/a.yml:18:57"


def test_the_check_of_expressions_is_told_at_the_expression() -> None:
    def check(expression: str) -> ExpressionFault | None:
        return ExpressionFault(what="no", offset=4) if expression.startswith("sum") else None

    with pytest.raises(Problems) as raised:
        parse_rules(FILE, project="shop", path="a.yml", check=check)
    assert [one.where for one in raised.value.problems] == ["a.yml:9:19"]


PROJECT = """
apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec: {command: run, port: 8000}
---
apiVersion: poise.dev/v1
kind: Project
metadata: {name: shop}
spec:
  ruleFiles: [%s]
"""


def declared(globs: str) -> Declared:
    return parse_project(PROJECT % globs, project="shop")


def read(globs: str, files: dict[str, str]) -> tuple[str, ...]:
    found = read_rule_files(
        declared(globs).rule_globs,
        project="shop",
        filename="poise.yaml",
        listed=lambda folder: [path for path in files if path.rpartition("/")[0] == folder],
        read=files.__getitem__,
    )
    return tuple(one.path for one in found)


def test_globs_name_the_files() -> None:
    files = {"rules/b.yml": FILE, "rules/a.yml": FILE, "rules/deep/c.yml": FILE, "top.yml": FILE}
    assert read("'rules/*.yml', top.yml", files) == ("rules/a.yml", "rules/b.yml", "top.yml")


def test_a_glob_without_a_file_is_refused() -> None:
    """A mistyped path would leave every rule out without a word."""
    with pytest.raises(Problems, match=r"POISE-S132 no file 'rulez/\*.yml'.*poise.yaml:11:15"):
        read("rulez/*.yml", {"rules/a.yml": FILE})


def test_every_file_tells_all_its_problems() -> None:
    with pytest.raises(Problems) as raised:
        read("rules/*.yml", {"rules/a.yml": "groups: 1", "rules/b.yml": "goups: []"})
    assert [one.where.split(":")[0] for one in raised.value.problems] == ["rules/a.yml", "rules/b.yml"]


@pytest.mark.parametrize("glob", ["/etc/*.yml", "../x.yml", "*/rules.yml", "rules//a.yml"])
def test_a_glob_stays_in_the_repository(glob: str) -> None:
    with pytest.raises(Problems):
        declared(f"'{glob}'")


@given(st.text(alphabet="groups:nameulxprclt-[]{} \n'\"&*!|>0", max_size=120))
def test_any_text_is_a_rule_file_or_tells_why_not(text: str) -> None:
    """What somebody pushes never ends in a stack trace."""
    for read in (
        lambda: parse_rules(text, project="p", path="a.yml"),
        lambda: parse_rule_tests(text, path="t"),
    ):
        try:
            read()
        except Problems as problems:
            assert all(one.where and one.mend for one in problems.problems)
