"""The gate's and the policy's commands against a server, as people type them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from poise.model.delivery import ChangeClass, Release

Run = Callable[..., Any]
HISTORY = """\
at,left
2026-11-01T00:00:00Z,0.95
2026-11-02T00:00:00Z,-0.1
2026-11-02T12:00:00Z,0.5
2026-11-03T00:00:00Z,0.5
"""
SPEC = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec: {command: x, port: 80}
"""


def test_wishes_are_asked_for_approved_and_listed(house: Any, online: Run, monkeypatch: Any) -> None:
    """Two people, two terminals; the list says who decided what."""
    asked = online("gate", "override", "web", "--reason", "the fair opens")
    assert asked.code == 0 and "another operator must approve" in asked.out
    own = online("gate", "approve", "web", "--override", "1")
    assert own.code == 1 and "POISE-B408" in own.err
    assert online("gate", "exempt", "web", "--cause", "network", "--reason", "the carrier failed").code == 0
    assert online("gate", "dispute", "web", "--reason", "it was no outage").code == 0
    monkeypatch.setenv("POISE_TOKEN", house.credentials["admin"])
    assert online("gate", "approve", "web", "--override", "1").code == 0
    assert online("gate", "rule", "web", "2", "--allow", "--reason", "agreed").code == 0
    listed = [line.split()[:4] for line in online("gate", "grants", "web").out.splitlines()[1:]]
    assert listed == [
        ["override", "1", "owner", "admin"],
        ["exemption", "1", "owner", "–"],
        ["ruling", "2", "owner", "admin"],
    ]
    shown = online("policy", "explain", "web")
    assert shown.code == 0 and "policy default, level" in shown.out and "override 1" not in shown.err


def test_what_names_no_verdict_is_refused_with_an_example(online: Run) -> None:
    """The id of a verdict is long; a wrong one must say what a right one looks like."""
    assert online("gate", "replay", "web/1").code == 3
    missing = online("gate", "replay", "web/1/ask/9")
    assert missing.code == 3 and "Traceback" not in missing.err


def test_a_policy_is_played_over_a_history(poise: Run) -> None:
    """What a threshold would have done is seen before it does it."""
    Path("poise.yaml").write_text(SPEC)
    Path("history.csv").write_text(HISTORY)
    played = poise("policy", "test", "history.csv")
    rows = [line.split() for line in played.out.splitlines()[1:4]]
    assert [(row[2], row[3]) for row in rows] == [("fast", "24.0"), ("freeze", "12.0"), ("normal", "12.0")]
    assert "freeze 25.0 %" in played.out
    Path("history.csv").write_text(HISTORY.replace("-0.1", "little"))
    spoiled = poise("policy", "test", "history.csv")
    assert spoiled.code == 5 and "history.csv:3:1" in spoiled.err


def test_what_is_locked_says_who_why_and_until_when_everywhere(online: Run) -> None:
    """One types it; everybody reads it, until somebody lifts it."""
    done = online("lock", "web", "--reason", "moving the database", "--for", "2h")
    assert done.code == 0 and "owner locked shop/production/web until" in done.out
    for command in (("status",), ("status", "web"), ("why", "web"), ("gate", "check", "-s", "web")):
        told = online(*command)
        assert "wner locked shop/production/web until" in (told.out + told.err).replace("\n", " "), command
    assert online("gate", "check", "-s", "web", "--class", "rollback").code == 0
    again = online("lock", "web", "--reason", "mine")
    assert again.code == 4 and "poise unlock shop/production/web" in again.err
    assert online("lock", "production", "--reason", "all of it", "--for", "90x").code == 5
    assert "owner locked shop/production until" in online("lock", "production", "--reason", "all of it").out
    assert online("unlock", "service/web").code == 0
    assert "all of it" in online("why", "web").out
    assert online("unlock", "production").code == 0
    assert "lock:" not in online("why", "web").out and online("unlock", "production").code == 3


def test_a_plan_of_a_deploy_says_what_would_happen_and_orders_nothing(house: Any, online: Run) -> None:
    """The verdict with its rules, each step, and what else stands in the way."""
    missing = online("deploy", "web", "--plan")
    assert missing.code == 3 and "no release yet" in missing.err
    now = house.clock.now()
    release = Release(
        project="shop", service="web", n=1, digest="sha256:1", run=1, commit="c", summary="the first",
        change_class=ChangeClass.FEATURE, committed_at=now, created_at=now,
    )  # fmt: skip
    house.write(release)
    assert online("lock", "web", "--reason", "a move").code == 0
    told = online("deploy", "web", "--plan").out
    assert "release 1 of shop/production/web (feature) would wait: hold: owner locked" in told
    assert "sha256:1: the first" in told and "lock: owner locked" in told
    assert told.splitlines()[-1].split()[:2] == ["100", "%"]
    assert online("unlock", "service/web").code == 0
    assert "would start: go (bootstrap)" in online("deploy", "web", "--plan", "--release", "1").out
    assert online("deploy", "web", "--plan", "--release", "9").code == 3
    assert "order" not in online("audit").out
