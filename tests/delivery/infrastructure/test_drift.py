"""Drift is told once, stands while nobody looked, and is told gone when it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from poise.delivery.infrastructure.drift import LASTS_S, Seen, decide, strays, undeclared
from poise.model.drift import Drift, DriftKind, Finding
from poise.model.event_types import DRIFT_FOUND, DRIFT_GONE, REDECLARED
from poise.model.record import Event, Recorded
from poise.model.service import Project

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FINDING = Finding(kind=DriftKind.RELEASE, subject="sha256:1", path="app.py", what="app.py", by="ana", at=NOW)
KNOWN = Drift(project="shop", finding=FINDING, found_at=NOW)


def test_a_new_finding_is_written_and_told_with_who_and_when() -> None:
    made = decide(Seen(project="shop", found={DriftKind.RELEASE: (FINDING,)}), NOW)
    assert [(write.key, write.body) for write in made.writes] == [(KNOWN.key, KNOWN)]
    assert [event.type for event in made.events] == [DRIFT_FOUND]
    assert "ana" in made.events[0].summary


def test_a_finding_that_stands_is_not_told_again() -> None:
    """Not even when what is said of it has changed: the same file is the same finding."""
    again = replace(FINDING, by="bo")
    made = decide(Seen(project="shop", known=(KNOWN,), found={DriftKind.RELEASE: (again,)}), NOW)
    assert made.is_empty
    assert made.wake_at is not None


def test_what_could_not_be_looked_at_is_not_gone() -> None:
    assert decide(Seen(project="shop", known=(KNOWN,), found={DriftKind.TRAFFIC: ()}), NOW).is_empty


def test_a_finding_that_is_gone_is_deleted_and_told() -> None:
    made = decide(Seen(project="shop", known=(KNOWN,), found={DriftKind.RELEASE: ()}), NOW)
    assert [(write.key, write.body) for write in made.writes] == [(KNOWN.key, None)]
    assert [event.type for event in made.events] == [DRIFT_GONE]


def test_what_was_applied_by_hand_is_named_with_who_did_it() -> None:
    head, current = Project(name="shop"), Project(name="shop", branch="trunk")
    event = Event(type=REDECLARED, subject="shop", summary="", actor="ana")
    row = Recorded(sequence=1, at=NOW, event=event, previous_hash="", hash="")
    (found,) = undeclared([current], [head], "c0ffee00", [row])
    assert (found.by, found.at, found.subject) == ("ana", NOW, "shop")
    assert "branch" in found.what
    assert not undeclared([head], [head], "c0ffee00", [row])


def test_a_process_is_a_stray_only_when_it_stays_one() -> None:
    asked, running = ["shop/p/web/1/0"], ["shop/p/web/1/1", "other/p/web/1/0"]
    since = dict.fromkeys((*asked, *running), NOW)
    long = timedelta(seconds=LASTS_S)
    assert not strays("shop", asked, running, since, NOW + long / 2)
    found = strays("shop", asked, running, since, NOW + long)
    assert [one.subject for one in found] == ["shop/p/web/1/1", "shop/p/web/1/0"]
