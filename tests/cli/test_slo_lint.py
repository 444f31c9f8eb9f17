"""``poise slo lint`` on files and data as people have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from poise.balance.lint.finding import Finding

START = 1_763_899_980


def objective(name: str, **spec: str) -> str:
    body = "".join(f", {key}: {value}" for key, value in spec.items())
    return (f"apiVersion: poise.dev/v1\nkind: Objective\nmetadata: {{name: {name}}}\n"
            f"spec: {{service: shop, window: 7d{body}}}\n---\n")  # fmt: skip


def history(hours: int) -> str:
    """A counter, a gauge that calls itself one, and a part that is larger than its whole."""
    rows: dict[str, list[str]] = {}
    for n in range(hours * 60):
        for series, value in (
            ('http_total{code="200"}', 100 * n), ('http_total{code="500"}', n // 50),
            ("double_total", 210 * n), ("wave_total", n % 7),
        ):  # fmt: skip
            rows.setdefault(series, []).append(f"{series} {value} {START + 60 * n}")
    return "\n".join([*(line for lines in rows.values() for line in lines), "# EOF", ""])


@pytest.fixture
def lint(poise: Callable[..., Any]) -> Callable[..., Any]:
    Path("m.om").write_text(history(30))

    def run(text: str, *words: str) -> tuple[int, dict[str, Finding], Any]:
        Path("slo.yaml").write_text(text)
        done = poise("slo", "lint", "slo.yaml", "--json", *words)
        said = msgspec.json.decode(done.out)
        found = msgspec.convert(said["findings"], list[Finding])
        return done.code, {one.rule: one for one in found}, said

    return run


GOOD = objective("fine", target="0.999", good="'http_total{code=\"200\"}'", total="http_total")


def test_a_sound_file_is_clean(lint: Callable[..., Any]) -> None:
    """Exit 0 is what a pipeline goes by."""
    assert lint(GOOD, "--metrics", "m.om") == (
        0,
        {},
        {"objectives": 1, "errors": 0, "warnings": 0, "findings": []},
    )


@pytest.mark.parametrize(
    ("spec", "code", "rule", "said"),
    [
        (
            {"good": "'http_total{code=\"20O\"}'", "total": "http_total"},
            5,
            "missing-label",
            "Did you mean '200'?",
        ),
        (
            {"good": "'http_total{kode=\"200\"}'", "total": "http_total"},
            5,
            "missing-label",
            "Did you mean 'code'?",
        ),
        ({"good": "nope_total", "total": "http_total"}, 5, "no-series", "Is its target scraped?"),
        ({"good": "wave_total", "total": "http_total"}, 5, "not-a-counter", "threshold"),
        ({"good": "double_total", "total": "http_total"}, 5, "good-over-total", "same labels"),
        ({"good": "http_total", "total": "http_total"}, 5, "same-counters", "label"),
    ],
)
def test_each_defect_is_named_where_it_stands(
    lint: Callable[..., Any], spec: dict[str, str], code: int, rule: str, said: str
) -> None:
    """A finding without its place and mend is a riddle."""
    done, found, _ = lint(GOOD + objective("broken", target="0.999", **spec), "--metrics", "m.om")
    assert done == code and rule in found, found
    assert found[rule].where == "slo.yaml:8:18" and said in found[rule].mend, found[rule]


def test_a_target_of_everything_and_a_wrong_zone_are_refused_where_they_stand(
    lint: Callable[..., Any],
) -> None:
    """What the reader of the file refuses is a finding like any other."""
    code, found, _ = lint(objective("all", target="1", good="a_total", total="b_total"))
    assert code == 5 and [one.where for one in found.values()] == ["slo.yaml:4:43"], found
    code, found, _ = lint(GOOD.replace("window: 7d", "window: 1M, zone: Europe/Berln"))
    assert code == 5 and all(one.where.startswith("slo.yaml:4:") for one in found.values())


def test_a_source_that_is_not_there_is_a_finding(lint: Callable[..., Any]) -> None:
    """The file is not proven right by silence."""
    code, found, _ = lint(GOOD, "--prometheus", "http://127.0.0.1:1")
    assert code == 5 and found["unreachable"].mend


def test_a_file_of_sloth_is_looked_over_too(lint: Callable[..., Any]) -> None:
    """Most objectives that exist are written for other tools; warnings alone exit 0."""
    code, found, said = lint(
        "version: prometheus/v1\nservice: shop\nslos:\n  - name: low\n    objective: 92\n    sli: {events: "
        "{error_query: 'sum(rate(http_total{code=\"500\"}[{{.window}}]))', total_query: "
        "'sum(rate(http_total[{{.window}}]))'}}\n    alerting: {page_alert: {disable: true}, "
        "ticket_alert: {disable: true}}\n",
        "--metrics", "m.om",
    )  # fmt: skip
    assert (code, list(found), said["warnings"]) == (0, ["tier-cannot-fire"], 1)
    assert found["tier-cannot-fire"].where == "slo.yaml:4:5"


def test_people_read_it_in_80_columns(
    lint: Callable[..., Any], poise: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Place first, so that an editor can jump to it."""
    monkeypatch.setenv("COLUMNS", "80")
    lint(GOOD + objective("low", target="0.9", good="http_total", total="http_total"))
    done = poise("slo", "lint", "slo.yaml")
    assert done.code == 5 and done.out.splitlines()[0].startswith(
        "slo.yaml:8:18 warning tier-cannot-fire shop/low"
    )
    assert max(map(len, done.out.splitlines())) <= 80 and "Nothing was measured" in done.out
