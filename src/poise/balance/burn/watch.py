"""The watch over every objective: after each round of counting, the tests, episodes and forecasts. Pure.

It looks at whole minutes, and at the present one once ``PEEK_S`` of it have passed. What comes late counts
in the next minute: none is lost. Its state is rebuilt from the counts after a restart: nothing of it is kept.

Each group of a grouped objective is tested by itself, and one outlook is told of all of them: the burn is the
worst group's and names those that burn; all else is of the group with the least left, as the budget is.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Protocol

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from poise.balance.burn.outlook import episodes_of, foresight_of
from poise.balance.burn.sequential import (
    FAILURES_MIN,
    MINUTE_S,
    TESTS,
    Floats,
    State,
    advance,
    advance_all,
    chance_real,
    fresh,
    weights,
)
from poise.model.increments import Sums
from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import BudgetPolicy
from poise.model.record import Decision, Write
from poise.model.spend import BurnNow, Outlook

Places = NDArray[np.intp]
PEEK_S: Final = 20.0  # of a minute that are enough to look at it
BACK_MINUTES: Final = 1440  # that are looked through again after a restart
FRESH_S: Final = 300.0  # how old an outlook may grow during a burn
STALE_S: Final = 3600.0  # and without one
LOOKED_AT: Final = 2  # episodes and forecasts of so many objectives a round; where none is urgent, of one
CHANCE_STEP: Final = 0.1
GROUPS_NAMED: Final = 5  # of those that burn
SPENT_RATIO: Final = 0.002  # of a budget: so much more makes an episode worth looking for
CATCH_UP: Final = 20  # minutes in one round, after a restart
CATCH_UP_CELLS: Final = 30_000  # or as many as that divided by the objectives


class Summed(Protocol):
    """Sums over any window of every objective at once."""

    @property
    def width(self) -> int: ...

    def between(self, start_s: float | Floats, end_s: float | None = None) -> Sums: ...

    def curve(self, key: str, at_s: Floats) -> Sums: ...

    def standing(self, at_s: Floats) -> Sums: ...


class Counted(Protocol):
    """One round of counting: each objective with its policy, its place in the sums and its budget's size."""

    @property
    def now(self) -> datetime: ...
    @property
    def objectives(self) -> tuple[Objective, ...]: ...
    @property
    def policies(self) -> tuple[BudgetPolicy, ...]: ...
    @property
    def places(self) -> Places: ...
    @property
    def sums(self) -> Summed: ...
    @property
    def allowed(self) -> Floats: ...
    @property
    def bad(self) -> Floats: ...


class _Sheet:
    """What does not change from round to round: objectives and groups as columns, and of whom is told."""

    def __init__(self, objectives: tuple[Objective, ...], places: Places) -> None:
        self.own = np.array([n for n, one in enumerate(objectives) if not one.group], dtype=np.intp)
        self.keys = [
            objectives[column].key for column in self.own
        ]  # of what is told, as all below is by column
        wholes = {key: n for n, key in enumerate(self.keys)}
        self.members: dict[int, list[int]] = {}
        for column, one in enumerate(objectives):
            if one.group and one.whole in wholes:
                self.members.setdefault(wholes[one.whole], []).append(column)
        self.worth = weights(np.array([one.target_ratio for one in objectives]))
        self.period_s = np.array([one.window_s for one in objectives])
        self.objectives, self.places = objectives, np.array(places)
        self.probes = np.array([one.indicator is IndicatorKind.PROBE for one in objectives], dtype=bool)
        services = np.array([one.service for one in objectives])
        watched = set(services[self.probes].tolist())
        self.watched = {one: np.flatnonzero(services == one) for one in watched}

    def looks(self, total: Floats, bad: Floats) -> tuple[Floats, Floats]:
        """What the probes of each objective's service saw; a probe's own objective has it as its events.

        The last axis is of objectives.
        """
        looks, failed = np.zeros_like(total), np.zeros_like(bad)
        for columns in self.watched.values():
            probing, others = columns[self.probes[columns]], columns[~self.probes[columns]]
            looks[..., others] = total[..., probing].sum(axis=-1, keepdims=True)
            failed[..., others] = bad[..., probing].sum(axis=-1, keepdims=True)
        return looks, failed


class _Told(Struct, frozen=True, eq=False, kw_only=True):
    """By what is told: whose budget it is (a column), the worst that burns (-1: none), and how likely."""

    column: Places
    burning: Places
    chance: Floats


class BurnWatch:
    """Looks at each round beside the budgets; what it says is written with them.

    The whole of it is derived: a new one that sees the same sums says the same. After a restart it catches up
    over several rounds, and says nothing before.
    """

    def __init__(self) -> None:
        self._sheet: _Sheet | None = None
        self._sums: Summed | None = None
        self._at_s = 0.0
        self._state = fresh(0, 0.0)
        self._good, self._bad = np.empty(0), np.empty(0)
        self._allowed, self._spent = np.empty(0), np.empty(0)
        self._said: dict[str, Outlook] = {}
        self._again: set[int] = set()  # news is told twice: a round may be lost before it is written
        self._whole: dict[str, float] = {}  # when each was told whole
        self._whole_bad: dict[str, float] = {}  # and what was spent by then

    def observe(self, round: Counted) -> Decision:
        """The outlooks that are news, or too old."""
        sheet = self._of(round)
        if len(self._said) > len(sheet.keys):  # who removes a budget removes the outlook beside it
            self._said = {key: self._said[key] for key in sheet.keys if key in self._said}
        writes = []
        if self._follow(round, sheet):
            state = self._peek(round, sheet)
            told = self._told(sheet, state)
            due = self._due(round, sheet, told)
            news = self._news(sheet, state, told)
            again, self._again = self._again - news, news
            for unit in sorted({*due, *news, *again}):
                made = self._outlook(round, sheet, state, told, unit, whole=unit in due)
                self._said[made.key] = made
                writes.append(Write(kind="Outlook", key=made.key, body=made))
        return Decision(writes=tuple(writes))

    def burns(self, round: Counted) -> tuple[BurnNow | None, ...]:
        """What burns now, by objective that is told: the tests alone, with nothing forecast."""
        sheet = self._of(round)
        if not self._follow(round, sheet):
            return (None,) * len(sheet.keys)
        state = self._peek(round, sheet)
        told = self._told(sheet, state)
        return tuple(self._burn(round, sheet, state, told, unit) for unit in range(len(sheet.keys)))

    # -- the tests --------------------------------------------------------------------------------

    def _of(self, round: Counted) -> _Sheet:
        """The sheet of what is declared now. What was followed before is followed on; other sums, anew."""
        before = self._sheet
        same = before is not None and before.objectives == round.objectives and round.sums is self._sums
        if before is not None and same and np.array_equal(before.places, round.places):
            return before
        sheet = self._sheet = _Sheet(round.objectives, round.places)
        self._again = set()
        if before is None or round.sums is not self._sums:
            self._sums, self._at_s = round.sums, 0.0
        elif self._at_s:
            self._carry(round, before, sheet)
        return sheet

    def _carry(self, round: Counted, before: _Sheet, sheet: _Sheet) -> None:
        """Give each column where its objective stood; a new one stands at the beginning."""
        known = {
            (one, int(place)): n
            for n, (one, place) in enumerate(zip(before.objectives, before.places, strict=True))
        }
        found = [
            known.get((one, int(place)), -1)
            for one, place in zip(sheet.objectives, sheet.places, strict=True)
        ]
        source = np.array(found, dtype=np.intp)
        new = fresh(len(source), self._at_s)
        stood = {}
        for name in State.__struct_fields__:
            old, none = getattr(self._state, name), getattr(new, name)
            stood[name] = np.where(source >= 0, old[..., source], none) if old.size else none
        self._state = State(**stood)
        upto = [rows[0] for rows in _upto(round, np.array([self._at_s]))]
        self._good, self._bad = (
            np.where(source >= 0, old[source], now) if old.size else now
            for old, now in zip((self._good, self._bad), upto, strict=True)
        )

    def _follow(self, round: Counted, sheet: _Sheet) -> bool:
        """Take in the minutes that have passed; whether all are."""
        last_s = round.now.timestamp() // MINUTE_S * MINUTE_S
        if last_s - self._at_s > BACK_MINUTES * MINUTE_S:
            self._at_s = last_s - BACK_MINUTES * MINUTE_S
            self._state = fresh(len(sheet.objectives), self._at_s)
            self._good, self._bad = (rows[0] for rows in _upto(round, np.array([self._at_s])))
        self._allowed, self._spent = round.allowed, round.bad
        most = max(CATCH_UP, CATCH_UP_CELLS // max(1, len(sheet.objectives)))
        minutes = min(most, int((last_s - self._at_s) // MINUTE_S))
        if minutes > 0:
            ends_s = self._at_s + MINUTE_S * np.arange(1.0, minutes + 1)
            good, bad = (
                np.maximum.accumulate(np.concatenate([before[None], rows]))
                for before, rows in zip((self._good, self._bad), _upto(round, ends_s), strict=True)
            )
            self._at_s, self._good, self._bad = float(ends_s[-1]), good[-1], bad[-1]
            new_bad = np.diff(bad, axis=0)
            total = np.diff(good, axis=0) + new_bad
            looks, looks_failed = sheet.looks(total, new_bad)
            self._state = advance_all(
                self._state, sheet.worth, total, new_bad, at=ends_s, period_allowed=self._allowed,
                period_s=sheet.period_s, looks=looks, looks_failed=looks_failed,
            )  # fmt: skip
        return self._at_s + MINUTE_S > last_s

    def _peek(self, round: Counted, sheet: _Sheet) -> State:
        """With what is known of the present minute: what fires now need not wait for its end."""
        now_s = round.now.timestamp()
        if now_s - self._at_s < PEEK_S:
            return self._state
        sums = round.sums.between(0.0)
        bad = np.maximum(sums.bad[sheet.places] - self._bad, 0.0)
        total = np.maximum(sums.good[sheet.places] - self._good, 0.0) + bad
        if not total.any():
            return self._state
        looks, looks_failed = sheet.looks(total, bad)
        seen = advance(
            self._state, sheet.worth, total, bad, at=now_s, period_allowed=self._allowed,
            period_s=sheet.period_s, looks=looks, looks_failed=looks_failed,
        )  # fmt: skip
        ended = (self._state.firing >= 0) & (seen.firing < 0)  # only a whole minute ends a burn
        return self._state if ended.any() else seen

    def _told(self, sheet: _Sheet, state: State) -> _Told:
        """Of whom each outlook is: an objective's own column, or the groups that stand worst."""
        chance = chance_real(state, sheet.worth, self._allowed)
        made = _Told(
            column=sheet.own.copy(),
            burning=np.where(state.firing[sheet.own] >= 0, sheet.own, -1),
            chance=chance[sheet.own],
        )
        for unit, mine in sheet.members.items():
            made.column[unit] = mine[
                int(np.argmax(self._spent[mine] / np.maximum(self._allowed[mine], 1e-9)))
            ]
            made.burning[unit] = next(iter(self._burning(sheet, state, unit)), -1)
            made.chance[unit] = chance[mine].max()
        return made

    def _burning(self, sheet: _Sheet, state: State, unit: int) -> list[int]:
        """The columns of an objective that burn, the worst first: by test, then by what it has spent."""
        mine = sheet.members.get(unit, [int(sheet.own[unit])])
        return sorted(
            (one for one in mine if state.firing[one] >= 0),
            key=lambda one: (state.firing[one], -state.burn_bad[one] / np.maximum(self._allowed[one], 1e-9)),
        )

    # -- what is told -----------------------------------------------------------------------------

    def _news(self, sheet: _Sheet, state: State, told: _Told) -> set[int]:
        """Where a burn began, worsened, spread to more groups or ended, or became much likelier."""
        found = set()
        burned = np.array([self._burned(key) for key in sheet.keys], dtype=bool)
        for unit in np.flatnonzero((told.burning >= 0) | burned).tolist():
            said = self._said.get(sheet.keys[unit])
            burning = self._burning(sheet, state, unit)
            names = {sheet.objectives[column].group for column in burning[:GROUPS_NAMED]} - {""}
            test = TESTS[int(state.firing[burning[0]])].name if burning else ""
            before = said.burn if said is not None else None
            moved = said is not None and abs(said.real_chance - told.chance[unit]) >= CHANCE_STEP
            same = (before.test, set(before.groups)) == (test, names) if before is not None else not test
            if moved or not same:
                found.add(unit)
        return found

    def _burned(self, key: str) -> bool:
        said = self._said.get(key)
        return said is not None and said.burn is not None

    def _due(self, round: Counted, sheet: _Sheet, told: _Told) -> list[int]:
        """Whose outlooks are to be told whole, burns and what has just ended first."""
        found, now_s = [], round.now.timestamp()
        hot = (told.burning >= 0) | (told.chance >= CHANCE_STEP)
        for unit, key in enumerate(sheet.keys):
            said = self._said.get(key)
            if said is None:
                found.append((1, 0.0, unit))
                continue
            column = told.column[unit]
            open_now = bool(said.episodes) and said.episodes[-1].until is None
            ended = (said.burn is not None or open_now) and not hot[unit]
            spent = float(self._spent[column]) - self._whole_bad.get(key, 0.0)
            spends = spent >= max(FAILURES_MIN, SPENT_RATIO * float(self._allowed[column]))
            limit_s = MINUTE_S if ended or spends else FRESH_S if hot[unit] else STALE_S
            told_s = self._whole.get(key, 0.0)
            if now_s - told_s >= limit_s:
                found.append((0 if ended or spends or hot[unit] else 1, told_s, unit))
        found.sort()
        most = max(1, min(LOOKED_AT, sum(urgency == 0 for urgency, _, _ in found)))
        return [unit for _, _, unit in found[:most]]

    def _outlook(
        self, round: Counted, sheet: _Sheet, state: State, told: _Told, unit: int, *, whole: bool
    ) -> Outlook:
        column = int(told.column[unit])
        objective = sheet.objectives[column]
        key = sheet.keys[unit]
        said = self._said.get(key)
        made = Outlook(
            service=objective.service,
            objective=objective.name,
            at=round.now,
            bad=float(self._spent[column]),
            allowed=float(self._allowed[column]),
            window_s=objective.window_s,
            real_chance=round_ratio(float(told.chance[unit])),
            burn=self._burn(round, sheet, state, told, unit),
            foresight=said.foresight if said is not None else None,
            episodes=said.episodes if said is not None else (),
        )
        if not whole:
            return made
        self._whole[key] = round.now.timestamp()
        self._whole_bad[key] = made.bad
        own = made.burn if told.burning[unit] == column else None
        return structs.replace(
            made,
            foresight=foresight_of(round.sums, objective, round.policies[column], round.now, own),
            episodes=episodes_of(round.sums, objective, round.now),
        )

    def _burn(self, round: Counted, sheet: _Sheet, state: State, told: _Told, unit: int) -> BurnNow | None:
        column = int(told.burning[unit])
        if column < 0:
            return None
        test = TESTS[int(state.firing[column])]
        since_s = float(state.onset[column])
        sums, place = round.sums.between(since_s), int(sheet.places[column])
        good, bad = float(sums.good[place]), float(sums.bad[place])
        ratio = bad / (good + bad) if good + bad > 0 else 0.0
        burning = self._burning(sheet, state, unit) if sheet.objectives[column].group else []
        return BurnNow(
            test=test.name,
            pages=test.pages,
            since=datetime.fromtimestamp(since_s, UTC),
            events=good + bad,
            bad=bad,
            spent_ratio=bad / max(float(self._allowed[column]), 1e-9),
            burn_rate=ratio / float(sheet.worth.allowed_ratio[column]),
            real_chance=round_ratio(float(told.chance[unit])),
            groups=tuple(sheet.objectives[one].group for one in burning[:GROUPS_NAMED]),
            groups_burning=len(burning),
        )


def round_ratio(ratio: float) -> float:
    """To three digits: what changes less is no news."""
    return float(f"{ratio:.3g}")


def _upto(round: Counted, ends_s: Floats) -> tuple[Floats, Floats]:
    """(good, bad) of all time up to each instant: ``[instants, objectives]``."""
    sums = round.sums.standing(ends_s)
    return sums.good[:, round.places], sums.bad[:, round.places]
