"""The same rule and test files through Debian's promtool: both give the same verdict."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from poise.adapters.memory_samples import MemorySamples
from poise.adapters.promql import notation
from poise.adapters.rules import evaluate
from poise.adapters.rules.testing import run
from poise.cli.entry import run as poise
from poise.model.rules import EvaluateRules, RuleAlertState, RuleFile, RuleMemory
from poise.model.samples import STALE
from poise.spec.rule_tests import parse_rule_tests
from poise.spec.rules import parse_rules

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")

SERIES = {
    'up{job="web", instance="a:80"}': "1 1 0x20",
    'up{job="web", instance="b:80"}': "1x10 _x2 0 0 0 1 stale 0x5",
    'errors_total{job="web", code="500"}': "0+30x40",
    'errors_total{job="web", code="200"}': "0+300x40",
    'size_bytes{host="db-1.example.com:9100"}': "123456789 1.5e12 0 -3 0.00012",
    'size_bytes{host="[::1]:9100"}': "NaN +Inf 1 2 3",
}
RULES = r"""
groups:
  - name: web
    interval: 1m
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
      - record: job:up:flag
        expr: job:up:sum < 2
        labels: {kind: low}
      - alert: Down
        expr: up == 0
        for: 5m
        labels: {severity: page, where: '{{ $labels.job | toUpper }}-{{ .Labels.instance | stripPort }}'}
        annotations:
          summary: 'Instance {{ $labels.instance }} of {{ $labels.job }} is down ({{ $value }})'
          nothing: '[{{ $labels.nope }}]'
      - alert: DownForLong
        expr: ALERTS{alertname="Down", alertstate="firing"} == 1
        keep_firing_for: 3m
        annotations: {since: '{{ $value | humanize }}'}
      - alert: Errors
        expr: sum by (job) (rate(errors_total{code="500"}[5m])) > 0.1
        for: 2m
        labels: {severity: warning}
        annotations:
          summary: '{{ $value | humanizePercentage }} {{ printf "%.3f %6.2f|%-8s|%q|%05d|%x" $value $value "a" "b\"c" 42 255 }}'
          all: '{{ range query "sort(errors_total)" }}{{ .Labels.code }}={{ .Value }} {{ end }}'
          sorted: '{{ range $i, $s := query "errors_total" | sortByLabel "code" }}{{ if $i }}, {{ end }}{{ $s | label "code" }}{{ end }}'
          first: '{{ with query "errors_total{code=\"200\"}" }}{{ . | first | value | humanize }}{{ else }}none{{ end }}'
          none: '{{ with query "nosuch" }}x{{ else }}none{{ end }}'
          index: '{{ (index (query "errors_total" | sortByLabel "code") 0).Value }}'
      - alert: Size
        expr: size_bytes
        annotations:
          plain: '{{ $value }} {{ .Value }}'
          human: '{{ $value | humanize }} {{ $value | humanize1024 }} {{ $value | humanizeDuration }} {{ humanizePercentage $value }}'
          host: '{{ $labels.host | stripPort }} {{ stripDomain $labels.host }} {{ title "hello big-world it''s" }}'
          regex: '{{ reReplaceAll "([a-z]+)-([0-9])" "$2_${1}x" $labels.host }} {{ match "^db" $labels.host }}'
          logic: '{{ if and (gt $value 1.0) (lt $value 1e9) }}mid{{ else if eq $value 0.0 }}zero{{ else }}other{{ end }} {{ not true }} {{ or "" "x" }}'
          mistake: '{{ if gt $value 1 }}never{{ end }}'
          trim: 'a  {{- /* gone */ -}}  b {{- " c" }}'
          variables: '{{ $x := 1 }}{{ $y := "z" }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}{{ $y }}{{ len "abc" }}'
          escapes: '{{ "tab\tquote\" é" }}{{ `raw\n` }} {{ urlquery "a b&c" }} {{ html "<a>" }} {{ print 1 2 "x" 3 }}'
          time: '{{ 1234567890.5 | humanizeTimestamp }} {{ parseDuration "1h30m" }}'
          wrong: '{{ printf "%d %s %!" $value 3 }}|{{ printf "%d" }}|{{ printf "a" 1 }}'
          labels: '{{ $labels }}'
"""  # noqa: E501
TIMES_M = (0, 1, 2, 3, 4, 5, 7, 8, 12, 17, 20)


def fired(rules: RuleFile) -> dict[tuple[int, str], list[dict[str, dict[str, str]]]]:
    """Which alerts of each name fire at each minute, as Poise has it."""
    samples = MemorySamples()
    for text, values in SERIES.items():
        labels, found = notation.series(f"{text} {values}")
        points = [(place * 60_000, value) for place, value in enumerate(found) if value is not None]
        samples.add(labels, points)
    memories: list[tuple[RuleMemory, ...]] = [() for _ in rules.groups]
    seen: dict[tuple[int, str], list[dict[str, dict[str, str]]]] = {}
    for minute in range(max(TIMES_M) + 1):
        for place, group in enumerate(rules.groups):
            asked = EvaluateRules(
                file=rules.path, group=group, at_ms=minute * 60_000, memories=memories[place]
            )
            done = evaluate(asked, samples)
            assert [one.error for one in done.results] == [""] * len(group.rules)
            memories[place] = tuple(RuleMemory(series=o.series, alerts=o.alerts) for o in done.results)
            for result in done.results:
                for labels, value in zip(result.series, result.values, strict=True):
                    samples.add(labels, [(done.at_ms, value)])
                for labels in result.gone:
                    samples.add(labels, [(done.at_ms, STALE)])
            for rule, memory in zip(group.rules, memories[place], strict=True):
                alerts = [a for a in memory.alerts if a.state is RuleAlertState.FIRING]
                seen[minute, rule.alert] = [
                    {
                        "exp_labels": {k: v for k, v in a.labels if k != "alertname"},
                        "exp_annotations": dict(a.annotations),
                    }
                    for a in alerts
                ]
    return seen


def written(folder: Path, seen: dict[tuple[int, str], list[dict[str, dict[str, str]]]]) -> Path:
    """A test file that expects what was seen, beside its rule file."""
    (folder / "rules.yml").write_text(RULES)
    tests = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in SERIES.items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": alerts}
            for (minute, name), alerts in seen.items()
            if name and minute in TIMES_M
        ],
        "promql_expr_test": [
            {
                "expr": "job:up:flag",
                "eval_time": "4m",
                "exp_samples": [{"labels": 'job:up:flag{job="web", kind="low"}', "value": 1}],
            },
            {"expr": "sum(ALERTS_FOR_STATE{alertname='Down'})", "eval_time": "4m",
             "exp_samples": [{"labels": "{}", "value": 120}]},
        ],
    }  # fmt: skip
    path = folder / "tests.yml"
    with path.open("w") as out:
        YAML().dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [tests]}, out)
    return path


def promtool(path: Path) -> tuple[int, str]:
    done = subprocess.run(
        ["promtool", "test", "rules", path.name], cwd=path.parent, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def seen() -> dict[tuple[int, str], list[dict[str, dict[str, str]]]]:
    found = fired(parse_rules(RULES, project="", path="rules.yml"))
    for alerts in found.values():  # the words of a mistake are Go's own there, and ours here
        for alert in alerts:
            wrong = alert["exp_annotations"].pop("mistake", "<error expanding template: ")
            assert wrong.startswith("<error expanding template: ")
    return found


@needs_promtool
def test_promtool_sees_every_alert_template_and_recorded_series_as_poise_does(
    tmp_path: Path, seen: dict[tuple[int, str], list[dict[str, dict[str, str]]]]
) -> None:
    """A team's rule files keep their meaning when they move here."""
    path = written(tmp_path, seen)
    rules = tmp_path / "rules.yml"
    rules.write_text("\n".join(line for line in RULES.splitlines() if "mistake:" not in line))
    code, said = promtool(path)
    assert code == 0, said
    assert poise(["rules", "test", str(path)]) == 0


@needs_promtool
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("is down (0)", "is down (1)"),
        ("severity: warning", "severity: page"),
        ("value: 120", "value: 121"),
        ("eval_time: 7m", "eval_time: 6m"),
        ("0x20", "1x20"),
    ],
)
def test_what_fails_there_fails_here(
    tmp_path: Path,
    seen: dict[tuple[int, str], list[dict[str, dict[str, str]]]],
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
) -> None:
    """A test that cannot fail says nothing."""
    path = written(tmp_path, seen)
    rules = tmp_path / "rules.yml"
    rules.write_text("\n".join(line for line in RULES.splitlines() if "mistake:" not in line))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert promtool(path)[0] == 1
    assert poise(["rules", "test", str(path)]) == 1
    said = capsys.readouterr().out
    assert "FAILED" in said and str(path) in said


def test_a_difference_shows_what_was_expected_and_what_there_is(tmp_path: Path) -> None:
    tests = parse_rule_tests(
        """
tests:
  - name: sums
    interval: 1m
    input_series: [{series: 'x{a="1"}', values: '1+1x5'}]
    promql_expr_test:
      - {expr: x * 2, eval_time: 2m, exp_samples: [{labels: '{a="1"}', value: 5}]}
    alert_rule_test:
      - {alertname: None, eval_time: 1m, exp_alerts: [{exp_labels: {a: b}}]}
""",
        path="t.yml",
    )
    outcome = run(tests, [])
    assert outcome.checks == 2
    alert, expression = outcome.failures
    assert alert.lines == ('- {a="b", alertname="None"}', "+ nothing")
    assert (expression.what, expression.where) == ("test 1 'sums': x * 2 at 2m", "t.yml:7:9")
    assert expression.lines == ('- {a="1"} 5', '+ {a="1"} 6')
    assert run(tests, [], only="others").checks == 0
