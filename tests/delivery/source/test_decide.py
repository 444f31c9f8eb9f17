"""Which heads become changes."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from poise.delivery.source.decide import Head, Push, Seen, decide
from poise.model.delivery import Change, ChangeClass
from poise.model.event_types import CHANGE_CREATED, CHANGE_MERGED
from poise.model.record import Decision, Ref

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)


def head(branch: str, commit: str, known: Change | None = None) -> Head:
    return Head(
        branch=branch,
        commit=commit,
        summary="fix: totals",
        author="Ada",
        committed_at=NOW,
        change_class=ChangeClass.FIX,
        known=known,
        ref=Ref("Change", f"shop/{commit}", 1 if known else 0),
    )


def seen(*heads: Head, **pushes: Push) -> Seen:
    return Seen(project="shop", branch="main", heads=heads, pushes=pushes)


def changes(decision: Decision) -> list[Change]:
    return [write.body for write in decision.writes if isinstance(write.body, Change)]


def test_a_new_head_is_a_change_with_its_pusher() -> None:
    """Who pushed and what for is on record from the start."""
    decision = decide(seen(head("main", "aa"), main=Push(by="ada", trusted=False)), NOW)
    (change,) = changes(decision)
    assert (change.commit, change.pushed_by, change.trusted) == ("aa", "ada", False)
    assert (change.change_class, change.pushed_at) == (ChangeClass.FIX, NOW)
    assert [event.type for event in decision.events] == [CHANGE_MERGED]
    assert decision.reads == (Ref("Change", "shop/aa", 0),)


def test_a_head_of_another_branch_is_created_not_merged() -> None:
    """Only the project's branch releases."""
    decision = decide(seen(head("topic", "bb")), NOW)
    assert [event.type for event in decision.events] == [CHANGE_CREATED]


def test_a_commit_on_two_branches_is_one_change_of_the_projects_branch() -> None:
    """Else it would be built twice, or released from the wrong branch."""
    (change,) = changes(decide(seen(head("a", "cc"), head("main", "cc")), NOW))
    assert change.branch == "main"


def test_a_recorded_commit_that_reaches_the_projects_branch_is_recorded_anew() -> None:
    """A fast-forward merge brings no new commit, yet it must release."""
    (topic,) = changes(decide(seen(head("topic", "dd")), NOW))
    (merged,) = changes(decide(seen(head("topic", "dd", topic), head("main", "dd", topic)), NOW))
    assert merged.branch == "main"


branches = st.dictionaries(st.sampled_from(["main", "a", "b", "c"]), st.sampled_from(["11", "22", "33"]))


@given(branches)
def test_looking_again_writes_nothing(heads: dict[str, str]) -> None:
    """Told twice, late or never, the record converges."""
    first = decide(seen(*(head(branch, commit) for branch, commit in heads.items())), NOW)
    known = {change.commit: change for change in changes(first)}
    assert set(known) == set(heads.values())
    again = decide(seen(*(head(branch, commit, known[commit]) for branch, commit in heads.items())), NOW)
    assert again.is_empty
