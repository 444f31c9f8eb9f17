"""The watch beside the budgets: what it tells, when, and that a restart changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from msgspec import Struct, structs

from poise.balance.budget.book import Book
from poise.balance.budget.measure import sheet, sizes
from poise.balance.burn.sequential import Floats
from poise.balance.burn.watch import BurnWatch, Places
from poise.model.increments import Increments
from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import BudgetPolicy
from poise.model.spend import Outlook

START = datetime(2026, 11, 1, tzinfo=UTC)
SHOP = "acme/production/shop"


class Round(Struct, frozen=True, eq=False, kw_only=True):
    """As the counting room hands it over."""

    now: datetime
    objectives: tuple[Objective, ...]
    policies: tuple[BudgetPolicy, ...]
    places: Places
    sums: Book
    allowed: Floats
    bad: Floats


def objective(name: str = "availability", kind: IndicatorKind = IndicatorKind.AVAILABILITY) -> Objective:
    return Objective(service=SHOP, name=name, indicator=kind, target_ratio=0.999)


class House:
    """A book that is counted into by the minute, and a watch beside it."""

    def __init__(self, *objectives: Objective) -> None:
        self.objectives = objectives
        self.book = Book(28 * 86_400.0)
        self.places = np.array([self.book.place(one.key) for one in objectives], dtype=np.intp)
        self.now = START
        self.watch = BurnWatch()
        self.told: dict[str, Outlook] = {}

    def pass_minutes(self, minutes: int, *counts: tuple[float, float], look: bool = True) -> None:
        """So many minutes of (good, bad) each: a reading and a look every 10 s, or a reading an hour."""
        step_s = 10 if look else 3600
        for _ in range(minutes * 60 // step_s):
            self.now += timedelta(seconds=step_s)
            at = self.now.timestamp() - 1.0
            good, bad = np.array(counts).T * (step_s / 60)
            self.book.add(
                Increments(
                    place=self.places,
                    at_s=np.full(len(counts), at),
                    good=good,
                    bad=bad,
                    known_from_s=np.full(len(counts), at - step_s),
                )
            )
            if look:
                self.look()

    def look(self) -> None:
        policies = tuple(BudgetPolicy() for _ in self.objectives)
        since_s, measured_s = (np.full(len(policies), one.timestamp()) for one in (START, self.now))
        declared = sheet(self.objectives, policies, self.places.tolist())
        sized = sizes(declared, self.book, since_s, measured_s, self.now)
        round = Round(
            now=self.now, objectives=self.objectives, policies=policies, places=self.places, sums=self.book,
            allowed=sized.allowed, bad=sized.bad,
        )  # fmt: skip
        for write in self.watch.observe(round).writes:
            assert isinstance(write.body, Outlook)
            self.told[write.key] = write.body

    def outlook(self) -> Outlook:
        return self.told[self.objectives[0].key]


def test_an_outage_is_told_within_two_minutes_with_its_start() -> None:
    """Somebody is woken, and the start is what everything else hangs on."""
    house = House(objective())
    house.pass_minutes(60, (600, 0))
    assert house.outlook().burn is None
    began = house.now
    while house.outlook().burn is None:
        house.pass_minutes(1, (0, 600))
    burn = house.outlook().burn
    assert burn is not None
    assert house.now - began <= timedelta(minutes=2)
    assert (burn.test, burn.pages, burn.since) == ("outage", True, began)
    assert burn.real_chance > 0.9
    assert burn.bad <= 1200


def test_what_a_probe_sees_pages_where_nobody_visits() -> None:
    """At ten requests an hour users cannot tell."""
    house = House(objective(), objective("looked-at", IndicatorKind.PROBE))
    house.pass_minutes(10, (0.0, 0.0), (2.0, 0.0))
    house.pass_minutes(2, (0.0, 0.0), (0.0, 2.0))
    assert {one.objective for one in house.told.values() if one.burn} == {"availability", "looked-at"}


def test_a_restarted_watch_says_the_same() -> None:
    """Nothing is kept but the counts; the verdict is the same live and replayed."""
    house = House(objective())
    house.pass_minutes(120, (600, 0))
    house.pass_minutes(30, (580, 20))
    house.look()
    before = house.outlook()
    house.watch, house.told = BurnWatch(), {}
    house.look()
    after = house.outlook()
    assert before.burn is not None
    assert after.burn is not None
    assert (after.burn.test, after.burn.since) == (before.burn.test, before.burn.since)
    assert structs.replace(after, burn=None, foresight=None) == structs.replace(
        before, at=after.at, burn=None, foresight=None, real_chance=after.real_chance, bad=after.bad,
        allowed=after.allowed, episodes=after.episodes,
    )  # fmt: skip


def test_an_end_is_told_with_the_episode_that_it_closed() -> None:
    """The ledger needs a start, an end, and whole counts."""
    house = House(objective())
    house.pass_minutes(60, (600, 0))
    house.pass_minutes(10, (300, 300))
    assert house.outlook().burn is not None
    house.pass_minutes(15, (600, 0))
    told = house.outlook()
    assert told.burn is None
    assert [(one.since, one.until) for one in told.episodes] == [
        (START + timedelta(minutes=60), START + timedelta(minutes=70))
    ]
    assert told.episodes[0].bad == 3000


def test_a_short_fault_that_pages_nobody_is_in_the_episodes_within_minutes() -> None:
    """Two minutes of every fifth request are a spend, though no burn: the ledger must not wait an hour."""
    house = House(objective())
    house.pass_minutes(60, (600, 0))
    house.pass_minutes(2, (480, 120))
    house.pass_minutes(7, (600, 0))
    told = house.outlook()
    assert told.burn is None
    assert [(one.bad, one.until) for one in told.episodes] == [(240.0, START + timedelta(minutes=62))]


def test_a_forecast_comes_with_days_to_draw_from() -> None:
    """No forecast is better than one out of nothing."""
    house = House(objective())
    house.pass_minutes(60, (600, 0))
    assert house.outlook().foresight is None
    house.pass_minutes(5 * 1440, (600, 0), look=False)
    house.look()
    foresight = house.outlook().foresight
    assert foresight is not None
    assert foresight.days >= 3
    assert foresight.left_low == 1.0


def test_what_is_no_longer_declared_is_not_told_any_more() -> None:
    """Who removes its budget removes its outlook too; the others go on."""
    house = House(objective(), objective("latency", IndicatorKind.LATENCY))
    house.pass_minutes(2, (600, 0), (600, 0))
    assert len(house.told) == 2
    house.objectives, house.places, house.told = house.objectives[:1], house.places[:1], {}
    house.pass_minutes(62, (600, 0))
    assert set(house.told) == {f"{SHOP}/availability"}


def grouped(*groups: str) -> tuple[Objective, ...]:
    """An objective and each of its groups."""
    whole = structs.replace(objective(), group_by=("region",))
    return (whole, *(structs.replace(whole, group=f"region={one}") for one in groups))


def test_one_group_that_burns_is_found_and_named_though_the_others_are_well() -> None:
    """A region that is down must not drown in the traffic of the others."""
    house = House(*grouped("eu", "us", "asia"))
    fine = (0.0, 0.0), (6000.0, 0.0)
    house.pass_minutes(60, *fine, (60, 0), (6000, 0))
    assert set(house.told) == {f"{SHOP}/availability"}
    assert house.outlook().burn is None
    began = house.now
    house.pass_minutes(4, *fine, (0, 60), (6000, 0))
    burn = house.outlook().burn
    assert burn is not None
    assert (burn.test, burn.since, burn.groups, burn.groups_burning) == ("outage", began, ("region=us",), 1)
    assert burn.where == " in region=us"


def test_the_worst_group_is_named_first_and_another_that_joins_is_news() -> None:
    """One alert an objective, which says how far the trouble has spread."""
    house = House(*grouped("eu", "us", "asia"))
    house.pass_minutes(60, (0, 0), (600, 0), (600, 0), (600, 0))
    house.pass_minutes(20, (0, 0), (600, 0), (570, 30), (600, 0))
    burn = house.outlook().burn
    assert burn is not None and burn.groups == ("region=us",)
    house.pass_minutes(4, (0, 0), (0, 600), (570, 30), (600, 0))
    burn = house.outlook().burn
    assert burn is not None and burn.groups == ("region=eu", "region=us")
    assert (burn.test, burn.where) == ("outage", " in region=eu and 1 more group")


def test_a_new_group_is_watched_and_what_burned_before_burns_on() -> None:
    """Groups come and go: whatever comes, the others' evidence stays."""
    house = House(*grouped("eu"))
    house.pass_minutes(60, (0, 0), (600, 0))
    house.pass_minutes(10, (0, 0), (300, 300))
    before = house.outlook().burn
    assert before is not None
    house.objectives = grouped("eu", "us")
    house.places = np.array([house.book.place(one.key) for one in house.objectives], dtype=np.intp)
    house.pass_minutes(1, (0, 0), (300, 300), (600, 0))
    after = house.outlook().burn
    assert after is not None
    assert (after.test, after.since, after.groups) == (before.test, before.since, ("region=eu",))
    house.pass_minutes(5, (0, 0), (300, 300), (0, 600))
    burn = house.outlook().burn
    assert burn is not None and set(burn.groups) == {"region=eu", "region=us"}


def test_of_many_groups_that_burn_the_worst_are_named_and_all_are_counted() -> None:
    """A sentence with fifty names is read by nobody."""
    house = House(*grouped(*"abcdefgh"))
    house.pass_minutes(30, (0, 0), *[(600, 0)] * 8)
    house.pass_minutes(5, (0, 0), *[(0, 600)] * 8)
    burn = house.outlook().burn
    assert burn is not None
    assert (len(burn.groups), burn.groups_burning) == (5, 8)
    assert burn.where.endswith(" and 7 more groups")
