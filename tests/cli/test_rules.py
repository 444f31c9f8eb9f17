"""Rule files at the command line: checked and tested without a server, with the exit codes of the rest."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from poise.cli.entry import run

RULES = "groups: [{name: g, rules: [{record: twice, expr: x * 2}]}]\n"
TESTS = """
rule_files: [r.yml]
tests:
  - interval: 1m
    input_series: [{series: x, values: 1+1x3}]
    promql_expr_test: [{expr: twice, eval_time: 2m, exp_samples: [{labels: twice, value: 6}]}]
"""


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_good_files_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "r.yml", RULES)
    assert run(["rules", "check", path]) == 0
    assert capsys.readouterr().out == f"{path}: 1 groups, 1 rules\n"


def test_bad_files_are_invalid_and_all_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = written(tmp_path, "a.yml", RULES.replace("x * 2", "rate(x)"))
    other = written(tmp_path, "b.yml", RULES.replace("record", "rekord"))
    assert run(["rules", "check", one, other]) == 5
    said = capsys.readouterr().err
    assert f"{one}:1:50" in said and f"{other}:1:" in said and "Did you mean 'record'?" in said
    assert run(["rules", "check", str(tmp_path / "none.yml")]) == 3


def test_tests_pass_and_fail_by_their_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, "r.yml", RULES)
    path = written(tmp_path, "t.yml", TESTS)
    assert run(["rules", "test", path]) == 0
    assert capsys.readouterr().out == f"{path}: ok, 1 checks\n"
    bad = written(tmp_path, "bad.yml", TESTS.replace("value: 6", "value: 7"))
    assert run(["rules", "test", path, bad]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: ok, 1 checks",
        f"{bad}: FAILED, 1 of 1 checks",
        f"  test 1: twice at 2m ({bad}:6:24)",
        "    - twice 7",
        "    + twice 6",
    ]
    assert run(["rules", "test", "--json", bad]) == 1
    told = msgspec.json.decode(capsys.readouterr().out)
    assert told["failures"][0]["lines"] == ["- twice 7", "+ twice 6"]


def test_a_test_without_its_rules_is_no_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong path would let every test pass that expects nothing."""
    path = written(tmp_path, "t.yml", TESTS)
    assert run(["rules", "test", path]) == 3
    assert "POISE-E304 no rule file r.yml" in capsys.readouterr().err
    wrong = written(tmp_path, "w.yml", TESTS.replace("eval_time: 2m", "evaltime: 2m"))
    assert run(["rules", "test", wrong]) == 5
