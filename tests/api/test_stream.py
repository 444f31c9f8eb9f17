"""Live events: resumed where they stopped, in order, and only one's own projects."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from poise.api import stream
from poise.model.service import Project, Service

Headers = Callable[..., dict[str, str]]


def events(url: str, headers: dict[str, str], count: int) -> list[tuple[int, str]]:
    """The first ``count`` events as (id, subject); an error when the stream is refused."""
    found: list[tuple[int, str]] = []
    with (
        httpx2.Client(trust_env=False, timeout=10) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        number = 0
        for line in answer.iter_lines():
            if line.startswith("id:"):
                number = int(line[3:])
            elif line.startswith("data:"):
                found.append((json.loads(line[5:])["sequence"], json.loads(line[5:])["event"]["subject"]))
            if line == "" and found and number == found[-1][0] and len(found) == count:
                return found
    return found


def test_a_stream_resumes_after_the_last_event_that_was_seen(served: str, headers: Headers) -> None:
    whole = events(f"{served}/api/v1/stream", headers("owner"), 10)
    assert [number for number, _ in whole] == list(range(1, 11))
    resumed = events(f"{served}/api/v1/stream", headers("owner", last_event_id="4"), 6)
    assert resumed == whole[4:]
    assert events(f"{served}/api/v1/stream?after=4", headers("owner"), 6) == whole[4:]


def test_a_stream_hides_the_events_of_other_projects(house: Any, served: str, headers: Headers) -> None:
    house.write(Project(name="other"), Project(name="shop"))
    seen = events(f"{served}/api/v1/stream", headers("viewer"), 5)
    assert {subject.split("/")[0] for _, subject in seen} == {"shop"}


def test_a_projects_stream_is_closed_to_others(served: str, headers: Headers) -> None:
    answer = httpx2.get(
        f"{served}/api/v1/projects/shop/stream", headers=headers("other-admin"), trust_env=False
    )
    assert answer.status_code == 403


def test_a_subject_cannot_lead_out_of_the_project(house: Any, served: str, headers: Headers) -> None:
    house.write(Project(name="other"))
    url = f"{served}/api/v1/projects/shop/stream?subject=other/"
    assert {subject.split("/")[0] for _, subject in events(url, headers("viewer"), 3)} == {"shop"}


def test_a_stream_tells_of_several_subjects_and_of_nothing_between(
    house: Any, served: str, headers: Headers
) -> None:
    """A service's page follows the service and what branches show of it."""
    named = [Service(project="shop", environment=name, name="x", command="run") for name in ("a", "b", "~c")]
    house.write(*named)
    url = f"{served}/api/v1/stream?subject=shop/a/x&subject=shop/~"
    assert [about for _, about in events(url, headers("viewer"), 2)] == ["shop/a/x/", "shop/~c/x/"]


def test_a_long_backlog_comes_without_waiting(
    house: Any, served: str, headers: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BATCH", 5)
    many = [Service(project="shop", environment="production", name=f"s{n}", command="run") for n in range(20)]
    house.write(*many)
    url = f"{served}/api/v1/projects/shop/stream"
    assert len(events(url, headers("viewer"), 22)) == 22  # the client's patience is below one heartbeat


def test_streams_over_the_limit_are_refused(
    served: str, headers: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STREAMS_MAX", 0)
    answer = httpx2.get(f"{served}/api/v1/stream", headers=headers("viewer"), trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (413, "POISE-E429")
