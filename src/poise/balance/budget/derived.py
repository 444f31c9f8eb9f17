"""Budgets that follow from other budgets: OpenSLO's composites of occurrences. Pure arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poise.balance.budget.measure import Measures, Sheet, copied
from poise.model.objective import Composite


def derived(sheet: Sheet, measures: Measures) -> Measures:
    """The measures, those of composites filled in; the same object where there is none.

    What burns a component's budget burns the composite's at the same rate, times the component's weight; the
    composite is known where all of them are. **Source:** OpenSLO v1, "Notes (Composite SLO)".
    """
    mine = [column for column in sheet.composites if sheet.objectives[column].is_derived]
    if not mine:
        return measures
    columns = {one.key: column for column, one in enumerate(sheet.objectives)}
    made = copied(measures)
    for column in mine:
        composite = sheet.objectives[column].composite
        parts = [columns.get(one.objective) for one in composite.components] if composite else []
        known = [part for part in parts if part is not None]
        if composite is not None and len(known) == len(parts):
            _burn(made, column, known, composite)
    return made


def _burn(made: Measures, column: int, parts: Sequence[int], composite: Composite) -> None:
    weights = np.array([one.weight for one in composite.components])
    spent = float(np.sum(weights * (1.0 - made.left_ratio[parts])))
    made.left_ratio[column] = 1.0 - spent
    made.allowed[column] = made.allowed[parts].sum()
    made.period.good[column] = made.period.good[parts].sum()
    made.period.bad[column] = max(0.0, spent) * made.allowed[column]
    made.period.coverage_ratio[column] = made.period.coverage_ratio[parts].min()
    made.burn_rate[:, column] = (weights * made.burn_rate[:, parts]).sum(axis=1)
    made.burn_known[:, column] = made.burn_known[:, parts].all(axis=1)
    made.burns.good[:, column] = made.burns.good[:, parts].sum(axis=1)
    made.burns.bad[:, column] = made.burns.failed[:, parts].sum(axis=1)
    made.burns.coverage_ratio[:, column] = made.burns.coverage_ratio[:, parts].min(axis=1)
    made.bootstrap[column] = made.bootstrap[parts].any()
    made.rate_per_s[column] = made.rate_per_s[parts].sum()
    made.since_s[column] = made.since_s[parts].max()
    made.measured_s[column] = made.measured_s[parts].min()  # NaN where one was never measured
    made.excess[column] = made.excess[parts].max()
    made.excluded_s[column] = made.excluded_s[parts].max()
