"""Post-mortems on the command line: from the draft to actions that are done, and each refusal's exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from poise.model.review import Action, ActionKind, Review, ReviewEdit
from poise.reliability.review.decide import folded

Run = Callable[..., Any]
ADD = ("postmortem", "action", "add", "1", "refuse a currency it does not know")
HOW = ("--kind", "prevent", "--owner", "ada", "--due", "2026-12-07", "--verify", "EURO fails at start")


@pytest.fixture
def review(house: Any) -> Review:
    """Incident 1's review, drafted."""
    made = Review(
        incident="shop/000001", title="Incident 1: web fails", services=("shop/production/web",),
        text="# Incident 1\n", ttd_s=20.0, ttr_s=260.0, budget_spent_ratio=0.08, drafted_at=house.clock.at,
    )  # fmt: skip
    house.write(made)
    return made


def fold(house: Any, review: Review) -> Review:
    made = folded(review, anyio.run(house.store.scan, ReviewEdit, "shop/000001/")[0])
    house.write(made)
    return made


def test_a_review_goes_from_draft_to_published_with_an_action_that_is_done(
    house: Any, online: Run, review: Review
) -> None:
    added = online(*ADD, *HOW)
    assert (added.code, added.out) == (0, "Action 1 of incident 1: ada has until 2026-12-07.\n"), added.err
    assert online("postmortem", "publish", "1").code == 0
    fold(house, review)
    shown = online("postmortem", "show", "1").out
    assert "published" in shown and "detected after 20 s" in shown and "8.0 %" in shown
    assert "[due 2026-12-07] 1 (p2, prevent, ada): refuse a currency" in shown
    assert "1 of 1 to do" in online("postmortem", "list").out
    assert online("postmortem", "action", "done", "1", "1").code == 0
    assert fold(house, review).actions[0].done_by == "owner"
    done = online("postmortem", "export", "1", "--to", "review.md")
    assert (done.code, done.out) == (0, "Wrote review.md.\n")
    written = Path("review.md").read_text()
    assert written.startswith("# Incident 1\n") and "- [x] 1, to prevent" in written


def test_every_answer_is_json_when_asked(house: Any, online: Run, review: Review) -> None:
    for words in (
        (*ADD, *HOW), ("postmortem", "list"), ("postmortem", "show", "1"), ("postmortem", "export", "1"),
        ("postmortem", "export", "1", "--to", "a.md"), ("postmortem", "action", "done", "1", "1"),
        ("postmortem", "publish", "1"),
    ):  # fmt: skip
        done = online(*words, "--json")
        assert done.code == 0, (words, done.err)
        json.loads(done.out)


def test_an_action_that_is_overdue_is_told(house: Any, online: Run, review: Review) -> None:
    late = Action(
        n=1, kind=ActionKind.DETECT, text="see it", owner="ada", verification="v",
        due_at=datetime.now(house.clock.at.tzinfo) - timedelta(days=2),
    )  # fmt: skip
    house.write(Review(incident="shop/000001", title="t", text="t", actions=(late,), drafted_at=late.due_at))
    assert "1 overdue" in online("postmortem", "list").out
    assert "OVERDUE since" in online("postmortem", "show", "1").out


def test_a_text_is_taken_from_a_file_or_from_the_editor(
    house: Any, online: Run, review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.md").write_text("# Mine\n")
    assert online("postmortem", "edit", "1", "--from-file", "mine.md").code == 0
    assert fold(house, review).text == "# Mine\n"
    Path("editor.py").write_text("import sys; open(sys.argv[1], 'a').write('More.\\n')\n")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {Path('editor.py').absolute()}")
    assert online("postmortem", "edit", "1").code == 0
    assert fold(house, review).text == "# Mine\nMore.\n"
    monkeypatch.setenv("EDITOR", "true")
    assert online("postmortem", "edit", "1").out == "Nothing has changed.\n"


def test_what_was_typed_is_kept_where_it_is_refused(
    house: Any, online: Run, review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert online("postmortem", "publish", "1").code == 0  # and not folded yet
    Path("editor.py").write_text("import sys; open(sys.argv[1], 'w').write('# Mine\\n')\n")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {Path('editor.py').absolute()}")
    done = online("postmortem", "edit", "1")
    assert (done.code, "POISE-I412" in done.err) == (4, True)
    kept = Path(done.err.strip().rpartition("Your text is in ")[2])
    assert kept.read_text() == "# Mine\n"
    kept.unlink()
    kept.parent.rmdir()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (ADD, 2, "--kind"),
        ((*ADD, *HOW[:-2]), 2, "--verify"),
        ((*ADD, *HOW, "--kind", "hope"), 2, "Run: poise postmortem action add --help"),
        ((*ADD[:3], "9", "what", *HOW), 3, "once its incident is resolved"),
        (("postmortem", "show", "9"), 3, "poise postmortem list"),
        (("postmortem", "action", "done", "1", "5"), 3, "poise postmortem show 1"),
        (("postmortem", "edit", "1", "--from-file", "none.md"), 3, "none.md"),
        ((*ADD, *HOW[:4], "--due", "2020-01-01", *HOW[6:]), 5, "--due 2030-01-31"),
        ((*ADD, *HOW[:2], "--owner", " ", *HOW[4:]), 5, "an action needs an owner"),
    ],
)
def test_a_refusal_has_its_exit_code_and_a_mend(
    house: Any, online: Run, review: Review, words: tuple[str, ...], code: int, said: str
) -> None:
    done = online(*words)
    assert (done.code, done.out) == (code, ""), done.err
    assert said in done.err
    assert anyio.run(house.store.scan, ReviewEdit, "shop/")[0] == []


def test_an_action_is_done_once_and_an_editor_must_be_named(
    online: Run, review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    online(*ADD, *HOW)
    codes = [online("postmortem", "action", "done", "1", "1").code for _ in range(2)]
    assert codes == [0, 4]
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    done = online("postmortem", "edit", "1")
    assert (done.code, "EDITOR=vi poise postmortem edit 1" in done.err) == (5, True)
