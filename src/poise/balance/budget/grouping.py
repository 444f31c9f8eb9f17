"""One objective, many series: each group of them is counted by itself, and the worst one is told. Pure.

A group that is told of no longer keeps its budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import structs

from poise.balance.budget.measure import Measures, Sheet, copied, take_column
from poise.model.balance import GroupBudget
from poise.model.objective import Objective


def members(objective: Objective, groups: Sequence[str]) -> tuple[Objective, ...]:
    """The objective of each group: counted, never declared or written."""
    return tuple(structs.replace(objective, group=group) for group in groups)


def worst(sheet: Sheet, measures: Measures) -> Measures:
    """The measures, those of a grouped objective being its worst group's. It is as fresh as its freshest,
    and as old as its oldest; where one contradicts itself, it does.
    """
    if not sheet.members:
        return measures
    made = copied(measures)
    for column, mine in sheet.members.items():
        known = [one for one in mine if not np.isnan(made.measured_s[one])]
        if known:
            take_column(made, column, min(known, key=lambda one: float(made.left_ratio[one])))
            made.measured_s[column] = max(float(made.measured_s[one]) for one in known)
            made.excess[column] = max(float(made.excess[one]) for one in known)
            made.since_s[column] = min(float(made.since_s[one]) for one in known)
    return made


def budgets(sheet: Sheet, measures: Measures, column: int) -> tuple[GroupBudget, ...]:
    """Every group's budget, the worst first; none for an objective without groups."""
    mine = [one for one in sheet.members.get(column, ()) if not np.isnan(measures.measured_s[one])]
    return tuple(
        GroupBudget(
            group=sheet.objectives[one].group,
            good=float(measures.period.good[one]),
            bad=float(measures.period.bad[one]),
            left_ratio=float(measures.left_ratio[one]),
            coverage_ratio=float(measures.period.coverage_ratio[one]),
        )
        for one in sorted(mine, key=lambda one: float(measures.left_ratio[one]))
    )
