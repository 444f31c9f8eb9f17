"""The shell of the budget room: one read counts every objective, and what changed materially is written.

There is one key for all objectives, so that a look costs what a look costs, not what an objective does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import anyio.lowlevel
import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from poise.balance.budget.counting import OVERLAP_S, Counting, Declared, Plain, counted, redeclared, replayed
from poise.balance.budget.decide import MATERIAL_RATIO, Seen, decide, refresh_s
from poise.balance.budget.derived import derived
from poise.balance.budget.grouping import members, worst
from poise.balance.budget.keeping import Keeping
from poise.balance.budget.measure import Measures, Sheet, measure, signature
from poise.model.balance import COUNTED_KEY, Budget, Counted
from poise.model.counting import STALE_AFTER_S, definition
from poise.model.exclusion import Exclusion, Stretch, merged
from poise.model.increments import Increments, Numbers, Observer, Round, Shaper, Sums
from poise.model.objective import Objective
from poise.model.policy import BudgetPolicy
from poise.model.record import Decision, Event, PrefixRef, Read, Ref, Write
from poise.model.service import Project
from poise.model.signal import QUERY_TOTAL
from poise.ports.checkpoints import Checkpoints
from poise.ports.store import LIST_LIMIT, Store
from poise.ports.totals import Totals
from poise.spec.recurrence import stretches

TICK_S: Final = 5.0
ALL: Final = "all"  # the one key
REFRESHES: Final = 2  # unchanged budgets that one look writes again, the oldest first
WRITES_MAX: Final = 500  # of one look; the rest follows with the next
PIECE: Final = 25  # budgets that are decided in one go,
PAGE: Final = 200  # objects that are read
GROUPED_S: Final = 15.0  # how often it is looked for new groups
EXPANDED_S: Final = 900.0  # how often rules of exclusions are expanded anew
SOON_S: Final = 0.5
QUIET_S: Final = 15.0  # a look at which nothing new was read is worth its cost so often


class _Written(Struct, frozen=True, kw_only=True):
    """A budget as it stands in the store."""

    body: Budget | None
    ref: Ref


class Curve(Struct, frozen=True, eq=False, kw_only=True):
    """One objective's sums up to each instant that was asked for, and the time that does not count."""

    sums: Sums
    excluded: tuple[Stretch, ...] = ()


class _Marks(Struct, eq=False, kw_only=True):
    """By column: what was written last, to see at a glance what has moved since."""

    left_ratio: Numbers
    at_s: Numbers
    since_s: Numbers
    bootstrap: NDArray[np.bool_]
    signature: NDArray[np.int64]
    problem: list[str]


class BudgetController:
    """Its one key is ``all``. Nothing here is lost with the process.

    ``problem_of`` tells why an objective's counters (by key) cannot be read; empty while they can. ``shaper``
    turns counted events into the units of a budget, ``observers`` look at each round beside the budgets. What
    is counted is kept in ``checkpoints``, so that a restart need not count it again.
    """

    name = "budget"

    def __init__(
        self,
        store: Store,
        signals: Totals,
        *,
        tick_s: float = TICK_S,
        problem_of: Callable[[str], str] = lambda _: "",
        interpolated_of: Callable[[str], bool] = lambda _: False,
        shaper: Callable[[], Shaper] = Plain,
        observers: Sequence[Observer] = (),
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._store = store
        self._signals = signals
        self._tick_s = tick_s
        self._problem_of = problem_of
        self._interpolated_of = interpolated_of
        self._shaper = shaper
        self._observers = observers
        self._keeping = Keeping(checkpoints) if checkpoints is not None else None
        self._declared: Declared = {}
        self._reads: tuple[Read, ...] = ()
        self._written: dict[str, _Written] = {}
        self._wanted: dict[str, Budget | None] = {}  # budgets that were to be written by the last look
        self._confirmed: dict[str, Ref] = {}  # of these, the ones of which the store told that they were
        self._budgets_ref: PrefixRef | None = None  # as of which ``_written`` is what is
        self._is_checked = False  # whether that was seen since the last resync
        self._counting: Counting | None = None
        self._marks: _Marks | None = None
        self._told_at: datetime | None = None
        self._exclusions: tuple[Exclusion, ...] = ()
        self._grouped: dict[str, tuple[str, ...]] = {}
        self._grouped_at: datetime | None = None
        self._expanded: dict[int, tuple[Stretch, ...]] = {}  # by column
        self._expanded_at: datetime | None = None
        self._reexcluded: set[int] = set()  # columns whose excluded time changed and was not written since
        self._plain: Measures | None = None
        self._rests: tuple[Counting, datetime] | None = None  # the last look, if it stands

    async def keys(self) -> Iterable[str]:
        """The one key. What is known of the store is compared with it: this is the resync."""
        self._is_checked = False
        return (ALL,)

    def wakes(self, ref: Ref) -> str | None:
        """An objective was declared, changed or removed."""
        if ref.kind == "Budget" and ref.key in self._wanted:
            self._confirmed[ref.key] = ref
        return ALL if ref.kind in ("Objective", "Exclusion") else None

    async def look(self, key: str, now: datetime) -> Decision:
        """Count what is new in one read and decide what to write; again in ``tick_s``."""
        counting = await self._current(now)
        increments = await counting.follow(self._signals, now)
        if self._keeping is not None:
            await self._keeping.keep(counting, now)
        if not len(increments) and self._is_quiet(counting, now):
            return Decision(wake_at=now + timedelta(seconds=self._tick_s))
        sheet = counting.sheet
        since_s, measured_s = counting.since_s(), counting.measured_s(now)
        excluded = self._excluded(counting, now)
        measures = plain = finished(sheet, measure(sheet, counting.book, since_s, measured_s, now))
        if excluded:
            measures = finished(sheet, measure(sheet, counting.book, since_s, measured_s, now, excluded))
        self._plain = plain if excluded else None
        await anyio.lowlevel.checkpoint()
        decisions = [self._gone()]
        for decided, one in enumerate(self._budgets(counting, measures)):
            if decided % PIECE == 0:  # they may be many: all else goes on in between
                await anyio.lowlevel.checkpoint()
            decisions.append(one)
        await anyio.lowlevel.checkpoint()
        late = sum(len(one.writes) for one in decisions) >= WRITES_MAX
        decisions += [self._told(decisions, now), *self._observed(counting, increments, measures, plain)]
        wait_s = SOON_S if late else self._tick_s
        decision = _merged(decisions, self._reads, now + timedelta(seconds=wait_s))
        told = not decision.writes or bool(self._wanted)  # then whether it was refused will be known
        self._rests = (counting, now) if told and not late else None
        return decision

    def _is_quiet(self, counting: Counting, now: datetime) -> bool:
        """Whether nothing is new since a look that was not refused and is younger than any policy's beat."""
        if self._rests is None or self._rests[0] is not counting or self._expanded_at is None:
            return False
        every_s = min((refresh_s(one) for one in counting.sheet.policies), default=QUIET_S)
        return 0 <= (now - self._rests[1]).total_seconds() < min(QUIET_S, every_s)

    def curve(self, key: str, at_s: Numbers) -> Curve | None:
        """What was counted of an objective up to each instant (UTC epoch seconds), for charts.

        None where it is not counted here: not yet, or because it follows from other budgets.
        O(instants), a few microseconds each.
        """
        counting = self._counting
        column = counting.columns.get(key) if counting is not None else None
        if counting is None or column is None or key not in counting.book.keys:
            return None
        objective = counting.sheet.objectives[column]
        if objective.is_derived:
            return None
        return Curve(sums=counting.book.curve(key, at_s), excluded=self._expanded.get(column, ()))

    # -- what is declared -----------------------------------------------------------------------------

    async def _current(self, now: datetime) -> Counting:
        """What is counted, after what was declared or written by now."""
        changed = not self._reads or not await self._store.unchanged(self._reads)
        if changed:
            self._declared, self._exclusions, self._reads = await _declared(self._store)
            self._expanded_at = None
        changed = await self._group(now, anew=changed) or changed
        await self._settle()
        counting = self._counting
        if counting is not None and (not changed or _same(counting, self._declared)):
            return counting
        budgets = {key: one.body for key, one in self._written.items() if one.body is not None}
        if counting is not None:
            counting = redeclared(counting, self._declared, budgets, now)
            self._marks, self._expanded_at = None, None
            self._expanded, self._reexcluded = {}, set()  # columns are others now
        if counting is None:
            counting = await self._begun(budgets, now)
            self._marks = None
        self._counting = counting
        return counting

    async def _begun(self, budgets: Mapping[str, Budget], now: datetime) -> Counting:
        """What was kept and what was read since; else everything, out of the totals."""
        found = await self._keeping.resumed(self._shaper, budgets, now) if self._keeping else None
        made = redeclared(found, self._declared, budgets, now) if found is not None else None
        if made is None:
            return await counted(self._signals, self._declared, budgets, now, self._shaper)
        await replayed(made, self._signals, made.until - timedelta(seconds=OVERLAP_S), now)
        return made

    async def _group(self, now: datetime, *, anew: bool) -> bool:
        """Count each group that is told of by itself; whether there are others than before."""
        due = self._grouped_at is None or not 0 <= (now - self._grouped_at).total_seconds() < GROUPED_S
        wholes = {key: one for key, one in self._declared.items() if one[0].group_by and not one[0].group}
        if not wholes or not (anew or due):
            return False
        found = {key: await _groups_of(self._signals, one) for key, (one, _) in wholes.items()}
        self._grouped_at = now
        if found == self._grouped and not anew:
            return False
        self._grouped = found
        declared = {key: one for key, one in self._declared.items() if not one[0].group}
        for key, groups in found.items():
            objective, policy = wholes[key]
            declared |= {one.key: (one, policy) for one in members(objective, groups)}
        self._declared = declared
        return True

    def _excluded(self, counting: Counting, now: datetime) -> dict[int, tuple[Stretch, ...]]:
        """By column: time that does not count, as far back as any window looks."""
        if self._expanded_at is None or not 0 <= (now - self._expanded_at).total_seconds() < EXPANDED_S:
            start = now - timedelta(seconds=counting.book.horizon_s)
            end = now + timedelta(seconds=EXPANDED_S)
            before = self._expanded
            self._expanded = excluded_time(counting.sheet.objectives, self._exclusions, start, end)
            self._expanded_at = now
            both = before.keys() | self._expanded.keys()
            self._reexcluded |= {one for one in both if before.get(one) != self._expanded.get(one)}
        return self._expanded

    async def _settle(self) -> None:
        """Know which budgets stand in the store, those of the last look included."""
        for key, body in self._wanted.items():
            ref = self._confirmed.get(key)
            if ref is None:  # nobody told, or it was refused: look
                self._rests = None
                body, ref = await self._store.get(Budget, key)
            self._written[key] = _Written(body=body, ref=ref)
            self._mark(key)
        if self._wanted:
            self._wanted, self._confirmed = {}, {}
            _, self._budgets_ref = await self._store.scan(Budget, limit=1)
        if self._is_checked:
            return
        if self._budgets_ref is None or not await self._store.unchanged([self._budgets_ref]):
            _, self._budgets_ref = await self._store.scan(Budget, limit=1)
            self._written, self._marks = await _budgets(self._store), None
        self._is_checked = True

    # -- what is worth writing ------------------------------------------------------------------------

    def _budgets(self, counting: Counting, measures: Measures) -> Iterable[Decision]:
        """Of each budget that may have changed materially, and of a few that were not written for long."""
        marks = self._marked(counting)
        seen = signature(counting.sheet, measures)
        problems = [self._problem_of(one.key) for one in counting.sheet.objectives]
        moved = np.abs(measures.left_ratio - marks.left_ratio) >= MATERIAL_RATIO
        moved |= (seen != marks.signature) | (measures.bootstrap != marks.bootstrap)
        moved |= np.abs(measures.since_s - marks.since_s) > 1e-3
        moved |= np.array([a != b for a, b in zip(problems, marks.problem, strict=True)], dtype=bool)
        groups = _groups(counting.sheet)  # told as part of their objective
        moved[groups] = False
        every_s = np.array([refresh_s(one) for one in counting.sheet.policies])
        old = np.flatnonzero(measures.now.timestamp() - marks.at_s >= every_s)
        refreshed = old[np.argsort(marks.at_s[old])][:REFRESHES]
        due = {*refreshed.tolist(), *(one for one in self._reexcluded if one < len(moved))} - {*groups}
        columns = np.union1d(np.flatnonzero(moved), np.array(sorted(due), dtype=np.int64)).tolist()
        watched, marks.signature = marks.signature != -1, seen
        for column in columns[:WRITES_MAX]:
            marked = column in due, bool(watched[column])
            yield self._decided(counting, measures, column, problems[column], *marked)
        marks.signature[columns[WRITES_MAX:]] = -1

    def _decided(
        self, counting: Counting, measures: Measures, column: int, problem: str, is_due: bool, watched: bool
    ) -> Decision:
        key = counting.sheet.objectives[column].key
        written = self._written.get(key, _Written(body=None, ref=Ref("Budget", key, 0)))
        seen = Seen(
            sheet=counting.sheet, measures=measures, sums=counting.book, column=column,
            before=written.body, ref=written.ref,
            interpolated=counting.counter.columns[key].interpolated or self._interpolated_of(key),
            problem=problem,
            is_due=is_due,
            is_watched=watched,
            excluded=self._expanded.get(column, ()),
            contradictions=counting.shaper.contradictions(),
            unadjusted=self._plain if column in self._expanded else None,
        )  # fmt: skip
        decision = decide(seen, measures.now)
        self._doubt(decision)
        return decision

    def _gone(self) -> Decision:
        """The budgets of objectives that are no longer declared, with what observers say beside them."""
        gone = [one for key, one in self._written.items() if key not in self._declared and one.body]
        decision = Decision(
            reads=tuple(one.ref for one in gone),
            writes=tuple(
                Write(kind=kind, key=one.ref.key, body=None) for one in gone for kind in ("Budget", "Outlook")
            ),
        )
        self._doubt(decision)
        return decision

    def _told(self, decisions: Sequence[Decision], now: datetime) -> Decision:
        """Where budgets are too many to be written again while they are fresh: that all were counted."""
        marks, counting = self._marks, self._counting
        if marks is None or counting is None or not len(marks.at_s):
            return Decision()
        writes = [counting.columns.get(write.key) for one in decisions for write in one.writes]
        at_s = np.where(np.isfinite(marks.at_s), marks.at_s, now.timestamp())
        at_s[[column for column in writes if column is not None]] = now.timestamp()
        every_s = min(refresh_s(policy) for policy in counting.sheet.policies)
        if now.timestamp() - float(at_s.min()) < 1.5 * every_s:
            return Decision()
        if self._told_at is not None and (now - self._told_at).total_seconds() < every_s:
            return Decision()
        self._told_at = now
        return Decision(writes=(Write(kind="Counted", key=COUNTED_KEY, body=Counted(at=now)),))

    def _observed(
        self, counting: Counting, increments: Increments, measures: Measures, plain: Measures
    ) -> Iterable[Decision]:
        """``plain`` are the measures without exclusions: what was spent in excluded time was spent."""
        sheet = counting.sheet
        round = Round(
            now=measures.now,
            objectives=sheet.objectives,
            policies=sheet.policies,
            places=sheet.places,
            increments=increments,
            sums=counting.book,
            allowed=measures.allowed,
            bad=plain.period.bad,
        )
        return [observer.observe(round) for observer in self._observers]

    # -- what was written -----------------------------------------------------------------------------

    def _doubt(self, decision: Decision) -> None:
        for write in decision.writes:
            assert write.body is None or isinstance(write.body, Budget)
            self._wanted[write.key] = write.body

    def _marked(self, counting: Counting) -> _Marks:
        if self._marks is None:
            count = len(counting.sheet.objectives)
            self._marks = _Marks(
                left_ratio=np.full(count, np.inf),
                at_s=np.full(count, -np.inf),
                since_s=np.full(count, np.inf),
                bootstrap=np.zeros(count, dtype=bool),
                signature=np.full(count, -1, dtype=np.int64),
                problem=[""] * count,
            )
            self._marks.at_s[_groups(counting.sheet)] = np.inf
            for key in self._declared:
                self._mark(key)
        return self._marks

    def _mark(self, key: str) -> None:
        marks, counting, written = self._marks, self._counting, self._written.get(key)
        column = counting.columns.get(key) if counting is not None else None
        if marks is None or column is None or written is None or written.body is None:
            return
        body = written.body
        marks.left_ratio[column], marks.at_s[column] = body.left_ratio, body.at.timestamp()
        marks.since_s[column], marks.bootstrap[column] = body.since.timestamp(), body.bootstrap
        marks.problem[column] = body.problem
        self._reexcluded.discard(column)


async def _groups_of(totals: Totals, objective: Objective) -> tuple[str, ...]:
    """The groups of which anything was read, ascending, at most as many as the objective allows."""
    labels = {"objective": objective.key, "definition": definition(objective)}
    told = await totals.latest(QUERY_TOTAL, labels)
    found = {dict(points.series.labels).get("group", "") for points in told}
    return tuple(sorted(found - {""}))[: objective.groups_max]


def finished(sheet: Sheet, measures: Measures) -> Measures:
    """Groups are told as their worst; then composites follow from their components."""
    return derived(sheet, worst(sheet, measures))


def excluded_time(
    objectives: Sequence[Objective], exclusions: Sequence[Exclusion], start: datetime, end: datetime
) -> dict[int, tuple[Stretch, ...]]:
    """By column, the time in [start, end) that does not count; nothing for those that have none."""
    found = {one.key: stretches(one, start, end) for one in exclusions}
    made = {
        column: merged(stretch for one in mine for stretch in found[one.key])
        for column, objective in enumerate(objectives)
        if (mine := [one for one in exclusions if one.covers(objective.key)])
    }
    return {column: some for column, some in made.items() if some}


def _groups(sheet: Sheet) -> list[int]:
    """Columns of single groups."""
    return [column for mine in sheet.members.values() for column in mine]


async def _declared(store: Store) -> tuple[Declared, tuple[Exclusion, ...], tuple[Read, ...]]:
    """Every objective with its project's policy, every exclusion, and what that was read from."""
    projects, projects_ref = await store.scan(Project)
    policies = _Policies(projects)
    found: list[Objective] = []
    page, objectives_ref = await store.scan(Objective, limit=PAGE)
    while page:
        found += page
        if len(page) < PAGE:
            break
        await anyio.lowlevel.checkpoint()
        page, _ = await store.scan(Objective, after=page[-1].key, limit=PAGE)
    declared = {one.key: (one, policies.of(one)) for one in found}
    exclusions, exclusions_ref = await _exclusions(store)
    return declared, exclusions, (projects_ref, objectives_ref, exclusions_ref)


async def _exclusions(store: Store) -> tuple[tuple[Exclusion, ...], Read]:
    """Every exclusion that was not taken back."""
    found: list[Exclusion] = []
    page, ref = await store.scan(Exclusion)
    while page:
        found += [one for one in page if one.removed_at is None]
        if len(page) < LIST_LIMIT:
            break
        page, _ = await store.scan(Exclusion, after=page[-1].key)
    return tuple(found), ref


class _Policies:
    """Each objective's policy: its project's, that waits as long for measurements as their source does."""

    def __init__(self, projects: Iterable[Project]) -> None:
        self._projects = {project.name: project for project in projects}
        self._made: dict[tuple[str, float], BudgetPolicy] = {}

    def of(self, objective: Objective) -> BudgetPolicy:
        """The same object for equal ones of a project."""
        name = objective.key.partition("/")[0]
        project = self._projects.get(name, Project(name=name))
        stale_after_s = project.policy.stale_after_s
        asked = objective.queries or objective.histogram or objective.gauge
        if asked is not None:
            known = {one.name: one.stale_after_s for one in project.sources}
            stale_after_s = max(stale_after_s, known.get(asked.source, STALE_AFTER_S))
        made = structs.replace(project.policy, stale_after_s=stale_after_s)
        return self._made.setdefault((name, stale_after_s), made)


async def _budgets(store: Store) -> dict[str, _Written]:
    found: dict[str, _Written] = {}
    after = ""
    while page := await store.objects("Budget", "", after=after, limit=PAGE):
        await anyio.lowlevel.checkpoint()
        for one in page:
            assert isinstance(one.body, Budget)
            found[one.key] = _Written(body=one.body, ref=one.ref)
        after = page[-1].key
    return found


def _same(counting: Counting, declared: Declared) -> bool:
    sheet = counting.sheet
    return list(zip(sheet.objectives, sheet.policies, strict=True)) == list(declared.values())


def _merged(decisions: Sequence[Decision], reads: tuple[Read, ...], wake_at: datetime) -> Decision:
    """One transaction for all of them."""
    events: list[Event] = [event for one in decisions for event in one.events]
    return Decision(
        reads=(*reads, *(read for one in decisions for read in one.reads)),
        writes=tuple(write for one in decisions for write in one.writes),
        intents=tuple(intent for one in decisions for intent in one.intents),
        events=tuple(events),
        wake_at=wake_at,
    )
