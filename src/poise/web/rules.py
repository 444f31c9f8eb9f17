"""Groups of rules, as a part of the overview: those in need first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import htpy as h

from poise.api.parts import Parts
from poise.api.queries import may_see
from poise.engine.ruling import GroupStanding
from poise.model.access import Principal
from poise.model.rules import RuleAlertState
from poise.web.overview_views import RuleGroupRow
from poise.web.parts import card, pill, table
from poise.web.wording import moment, plural

SHOWN: Final = 20
_HEAD: Final = ("group", "state", "file", "rules", "last evaluation", "what matters")


def rule_group_rows(parts: Parts, asker: Principal) -> tuple[RuleGroupRow, ...]:
    """Groups of the projects that the asker may see: firing, failing, pending, then the rest."""
    rows = [_of(one) for one in parts.rules() if may_see(asker, one.project)]
    return tuple(sorted(rows, key=_need))


def rules_card(rows: Sequence[RuleGroupRow]) -> h.Node:
    """A card with a table; nothing where there are no rules."""
    if not rows:
        return None
    firing, failing = sum(row.firing for row in rows), sum(row.failing for row in rows)
    told = [plural(sum(row.rules for row in rows), "rule")]
    told += [f"{plural(firing, 'alert')} firing"] if firing else ["none firing"]
    told += [f"{failing} could not be evaluated"] if failing else []
    more = len(rows) - SHOWN
    return card(
        "Rules",
        h.p[", ".join(told), f"; {more} more groups are shown by poise rules list" if more > 0 else "", "."],
        table("Rules", _HEAD, [_row(row) for row in rows[:SHOWN]], "lllrll"),
    )


def _of(standing: GroupStanding) -> RuleGroupRow:
    states = [alert.state for one in standing.rules for alert in one.memory.alerts]
    errors = [f"{one.rule.name}: {one.error}" for one in standing.rules if one.error]
    return RuleGroupRow(
        project=standing.project,
        file=standing.file,
        name=standing.group.name,
        rules=len(standing.rules),
        firing=states.count(RuleAlertState.FIRING),
        pending=states.count(RuleAlertState.PENDING),
        failing=len(errors),
        at=standing.evaluated_at,
        said=errors[0] if errors else "",
    )


def _need(row: RuleGroupRow) -> tuple[int, str, str, str]:
    order = 0 if row.firing else 1 if row.failing else 2 if row.pending else 3
    return (order, row.project, row.file, row.name)


def _row(row: RuleGroupRow) -> tuple[h.Node, ...]:
    if row.firing:
        state = pill(f"{row.firing} firing", "hold")
    elif row.failing:
        state = pill(f"{row.failing} failing", "hold")
    elif row.at is None:
        state = pill("not yet", "unknown")
    else:
        state = pill(f"{row.pending} pending", "slow") if row.pending else pill("quiet", "go")
    return (
        row.name,
        state,
        h.span(".mono")[f"{row.project}/{row.file}"],
        str(row.rules),
        moment(row.at, "second") if row.at else "never",
        row.said[:300],
    )
