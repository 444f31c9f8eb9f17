"""``poise webhook``: a secret is shown once; every command answers JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]


def test_a_hook_is_added_listed_and_removed(online: Run) -> None:
    made = json.loads(online("webhook", "add", "github", "--json").out)
    assert made["url"].endswith("/api/v1/projects/shop/webhooks/github")
    assert len(made["secret"]) == 64
    listed = online("webhook", "list")
    assert "github" in listed.out
    assert made["secret"] not in listed.out
    assert online("webhook", "remove", "github").code == 0
    gone = online("webhook", "remove", "github")
    assert (gone.code, "poise webhook list" in gone.err) == (3, True)


def test_sinks_are_listed(online: Run) -> None:
    assert json.loads(online("webhook", "sinks", "--json").out) == []


def test_a_bad_remote_is_refused_with_a_mend(online: Run) -> None:
    done = online("webhook", "add", "github", "--remote", "ext::sh")
    assert (done.code, "POISE-G122" in done.err) == (5, True)
