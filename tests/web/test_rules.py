"""Groups of rules on the overview."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import htpy as h

from poise.engine.ruling import GroupStanding, RuleStanding
from poise.model.access import Principal, Role
from poise.model.rules import Rule, RuleAlert, RuleAlertState, RuleGroup, RuleMemory
from poise.web.rules import rule_group_rows, rules_card

AT = datetime(2026, 11, 1, tzinfo=UTC)
VIEWER = Principal(name="eva", roles={"shop": Role.VIEWER})


def standing(name: str, project: str = "shop", error: str = "", **states: int) -> GroupStanding:
    rule = Rule(alert="A", expr="x")
    alerts = tuple(
        RuleAlert(rule="1", labels=(("n", str(n)),), state=RuleAlertState(word), active_at=AT)
        for word, count in states.items()
        for n in range(count)
    )
    one = RuleStanding(rule=rule, memory=RuleMemory(alerts=alerts), error=error, evaluated_at=AT)
    group = RuleGroup(name=name, rules=(rule,))
    return GroupStanding(project=project, file="r.yml", group=group, rules=(one,), evaluated_at=AT)


def card_of(*standings: GroupStanding) -> str:
    parts = cast("Any", SimpleNamespace(rules=lambda: standings))
    return str(h.div[rules_card(rule_group_rows(parts, VIEWER))])


def test_what_fires_or_fails_comes_first_and_is_said_in_words() -> None:
    html = card_of(
        standing("calm"),
        standing("waits", pending=1),
        standing("broken", error="no <b>"),
        standing("hot", firing=2),
    )
    places = [html.index(f">{name}<") for name in ("hot", "broken", "waits", "calm")]
    assert places == sorted(places)
    assert "4 rules, 2 alerts firing, 1 could not be evaluated." in html
    assert "A: no &lt;b&gt;" in html


def test_what_the_reader_may_not_see_is_not_there() -> None:
    assert "secret" not in card_of(standing("mine"), standing("secret", project="other"))


def test_without_rules_there_is_no_card() -> None:
    assert card_of() == "<div></div>"
