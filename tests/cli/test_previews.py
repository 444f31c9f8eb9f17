"""What `poise previews` says of a branch, in the words that `poise status` and the page have."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace
from tests.api.test_branch_previews import shown

from poise.model.branch_preview import BranchPreview, PreviewState, Stopped


def preview(house: Any, state: PreviewState, reason: str = "", answers: bool = False) -> BranchPreview:
    """The preview of branch feature/x, on record."""
    stopped = Stopped.ORDERED if state is PreviewState.STOPPED else None
    one = shown(house, state, reason)
    one = replace(one, stopped=stopped, revisions=one.revisions if answers else ())
    house.write(one)
    return one


@pytest.mark.parametrize(
    ("state", "answers"),
    [
        (PreviewState.BUILDING, False),
        (PreviewState.STARTING, False),
        (PreviewState.READY, True),
        (PreviewState.FAILED, False),
        (PreviewState.FAILED, True),
    ],
)
def test_every_face_says_the_same_of_a_branch(
    state: PreviewState, answers: bool, house: Any, served: str, online: Callable[..., Any]
) -> None:
    """One word for the state, one form of the commit, and why it failed wherever that is looked for."""
    preview(house, state, "run 8 ended in failure" if state is PreviewState.FAILED else "", answers)
    bearer = {"authorization": f"Bearer {house.credentials['owner']}"}
    page = httpx2.get(f"{served}/services/shop/production/web", headers=bearer, trust_env=False).text
    card = html.unescape(page.partition('id="previews"')[2].partition("</section>")[0])
    assert f">{state.value}</p>" in card and ">cccccccc</a>" in card
    told = "The preview of web on feature/x failed: run 8 ended in failure."
    assert (told in card) is (state is PreviewState.FAILED)
    for command in ("previews", "status"):
        done = online(command)
        (row,) = [line for line in done.out.splitlines() if line.startswith("feature/x")]
        assert row.split()[1:4] == ["web", state.value, "cccccccc"]
        assert ("http://feature-x.web.localhost" in row) is answers
        assert (told in done.err) is (state is PreviewState.FAILED)


def test_a_stopped_one_is_listed_with_why_and_stops_no_second_time(
    house: Any, online: Callable[..., Any]
) -> None:
    """What comes too late ends as every order that does: exit code 4, and what helps."""
    preview(house, PreviewState.STOPPED, "ben asked for it (seen)")
    assert "the preview of web on feature/x is stopped: ben asked for it (seen)" in online("previews").out
    assert "feature/x" not in online("status").out
    late = online("previews", "stop", "feature/x")
    assert late.code == 4 and "ben asked for it (seen)" in late.err and "A new commit" in late.err
    assert online("previews", "stop", "feature/y").code == 3
