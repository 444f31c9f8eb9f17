"""The step summary of a pull request: the verdict in words, the budgets, and who spent them lately."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from poise.model.balance import Budget
from poise.model.policy import BudgetPolicy, ClassRule
from poise.model.service import Project
from poise.model.spend import Spend, SpendCause, SpendLedger

KEY = "shop/production/web"


@pytest.fixture
def spent(house: Any) -> None:
    now = house.clock.now()
    entry = Spend(
        since=now - timedelta(hours=4), until=now - timedelta(hours=3), events=9_000, bad=31,
        spent_ratio=0.031, cause=SpendCause.DEPLOY, subject=f"{KEY}/000043", name="release 43 of web | x",
    )  # fmt: skip
    house.write(
        Budget(
            service=KEY, objective="availability", target_ratio=0.999, window_s=2_419_200.0, good=999_500,
            bad=500, allowed=1_000, left_ratio=0.5, burns=(), coverage_ratio=1.0, bootstrap=False,
            since=now - timedelta(days=28), measured_at=now, at=now,
        ),
        SpendLedger(
            service=KEY, objective="availability", at=now, bad=500, allowed=1_000, window_s=2_419_200.0,
            usual_bad=469, entries=(entry,),
        ),
    )  # fmt: skip


@pytest.mark.usefixtures("spent")
def test_the_summary_tells_the_budget_and_what_the_last_release_cost(
    online: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reviews the next change sees what the last one cost, without leaving the pull request."""
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    online("gate", "check", "-s", "web", "--github")
    text = summary.read_text()
    assert "Gate: " in text and KEY in text
    assert "| availability | 50.0 % | 500 of 1,000 | 99.90 % | 100.0 % |" in text
    assert "release 43 of web \\| x cost 3.1 % of the availability budget (deploy," in text


def event(folder: Path, monkeypatch: pytest.MonkeyPatch, **said: Any) -> None:
    """The file that a workflow's step finds, as GitHub writes it."""
    file = folder / "event.json"
    file.write_text(json.dumps(said))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(file))


def pull(*labels: str) -> dict[str, Any]:
    return {"number": 12, "labels": [{"id": 7, "name": name} for name in labels]}


@pytest.fixture
def rules(house: Any) -> None:
    rule = ClassRule(change_class="security", labels=("cve",))
    house.write(Project(name="shop", policy=BudgetPolicy(classes=(rule,))))


@pytest.mark.usefixtures("spent", "rules")
@pytest.mark.parametrize(
    ("said", "words", "expected", "why"),
    [
        ({"pull_request": pull("deps", "cve")}, (), "security", "security, by label cve (pull request 12)"),
        ({"pull_request": pull("deps")}, (), "feature", "feature: nothing claims another class"),
        ({"pull_request": pull("cve")}, ("--class", "fix"), "fix", None),
        (
            {"head_commit": {"message": "a page\n\nPoise-Class: fix"}}, (), "fix",
            "fix, by trailer Poise-Class: fix (the commit that was pushed)",
        ),
        ({"schedule": "0 4 * * *"}, (), "feature", None),
    ],
    ids=["a label", "no rule for it", "a named class", "a push", "neither"],
)  # fmt: skip
def test_the_event_of_the_workflow_says_the_class(
    online: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any],
    words: tuple[str, ...], expected: str, why: str | None,
) -> None:  # fmt: skip
    """By the rules that the server has; what decided is told, and a class by name is stronger."""
    event(tmp_path, monkeypatch, **said)
    done = online("gate", "check", "-s", "web", "--json", *words)
    assert json.loads(done.out)["change_class"] == expected
    assert (f"class {why}" in done.err) if why else ("class " not in done.err)


@pytest.mark.usefixtures("spent", "rules")
def test_the_summary_says_what_decided(
    online: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event(tmp_path, monkeypatch, pull_request=pull("cve"))
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    online("gate", "check", "-s", "web", "--github")
    assert "It is a security by label cve (pull request 12)." in summary.read_text()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pull_request": 7}'])
def test_an_odd_event_is_an_error_in_plain_words_or_says_nothing(
    online: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Never a guess at the class, never a stack trace."""
    file = tmp_path / "event.json"
    file.write_text(text)
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(file))
    done = online("gate", "check", "-s", "web", "--json")
    if text.startswith("{") and text != "{":
        assert json.loads(done.out)["change_class"] == "feature"
    else:
        assert done.code == 5 and "POISE-E215" in done.err and "--class" in done.err
