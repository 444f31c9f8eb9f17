"""A project's pages over HTTP: what they read, and what the on-call forms make of a wish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from poise.api.access import SESSION_COOKIE
from poise.model.config import Config, Secret
from poise.model.delivery import Change, ChangeClass, Release, Rollout, RolloutState, Run, RunState
from poise.model.incident import Incident, Severity
from poise.model.oncall import Contact, ContactKind, OnCallOverride, OnCallSchedule, Person, Rotation
from poise.model.service import Service
from poise.web import delivery_compose
from poise.web.sign_in import CSRF_COOKIE

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
SERVICE = "shop/production/web"


@pytest.fixture
def client(house: Any) -> Iterator[Client]:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def schedule(house: Any) -> OnCallSchedule:
    people = tuple(
        Person(name=name, contacts=(Contact(kind=ContactKind.EMAIL, address=f"{name}@example.org"),))
        for name in ("anna", "ben")
    )
    one = OnCallSchedule(
        project="shop", name="shop", zone="Europe/Rome", people=people,
        rotations=(Rotation(people=("anna",), starts=date(2020, 1, 6)),),
    )  # fmt: skip
    house.write(one)
    return one


def overrides(house: Any) -> list[OnCallOverride]:
    found: list[OnCallOverride] = anyio.run(house.store.scan, OnCallOverride)[0]
    return found


def browse(house: Any, client: Client, who: str) -> str:
    """A browser of this person; the secret of its forms."""
    client.cookies[SESSION_COOKIE] = house.credentials[who]
    client.get("/")
    return client.cookies[CSRF_COOKIE]


@pytest.mark.parametrize("page", ["scorecard", "scorecard?window=7d&service=web", "delivery", "oncall"])
def test_a_young_project_has_every_page(page: str, client: Client, headers: Headers) -> None:
    """Empty pages teach; they do not fail."""
    answer = client.get(f"/projects/shop/{page}", headers=headers("viewer"))
    assert answer.status_code == 200, answer.text
    assert "<h1>" in answer.text


@pytest.mark.parametrize("page", ["scorecard?window=1y", "scorecard?service=nope", "delivery?window=2d"])
def test_what_there_is_not_is_a_page_that_helps(page: str, client: Client, headers: Headers) -> None:
    answer = client.get(f"/projects/shop/{page}", headers=headers("viewer"))
    assert answer.status_code in (404, 422, 400), answer.text


def test_delivery_follows_a_commit_to_its_rollout(house: Any, client: Client, headers: Headers) -> None:
    """From the push to what became of it, on one page, with a config change and the incident."""
    now, commit = house.clock.now(), "c" * 40
    hostile = "<script>alert(1)</script>"
    spec, _ = anyio.run(house.store.get, Service, SERVICE)

    def rollout(n: int, **other: Any) -> Rollout:
        return Rollout(
            project="shop", environment="production", service="web", n=n, release=1, digest="sha256:1",
            revision=f"r{n}", commit=commit, summary=hostile, change_class=ChangeClass.FEATURE, spec=spec,
            created_at=now, started_at=now, **other,
        )  # fmt: skip

    house.write(
        Change(
            project="shop", commit=commit, branch="main", summary=hostile, author="Ben", committed_at=now,
            pushed_by="ben", pushed_at=now, change_class=ChangeClass.FEATURE,
        )
    )  # fmt: skip
    house.write(
        Run(
            project="shop", n=7, commit=commit, branch="main", workflow="ci", state=RunState.SUCCESS,
            created_at=now, releases=("shop/web/000001",),
        )
    )  # fmt: skip
    house.write(
        Release(
            project="shop", service="web", n=1, digest="sha256:1", run=7, commit=commit, summary=hostile,
            change_class=ChangeClass.FEATURE, committed_at=now, created_at=now,
        )
    )  # fmt: skip
    house.write(rollout(1, state=RolloutState.RETIRED))
    house.write(rollout(2, state=RolloutState.ROLLED_BACK, config=3, changes=("config",)))
    house.write(Config(service=SERVICE, n=3, values={"A": "1"}, by="anna", reason="try it", at=now))
    house.write(
        Incident(
            project="shop", environment="production", n=1, title="it burns", severity=Severity.SEV1,
            service=SERVICE, services=(SERVICE,), onset_at=now, opened_at=now,
        )
    )  # fmt: skip
    page = client.get("/projects/shop/delivery?window=24h", headers=headers("viewer")).text
    said = page.partition('class="say">')[2].partition("<")[0]
    assert said == "2 changes in 24 hours, 1 rolled back.", "a commit that ran twice is one change"
    assert "/runs/shop/7" in page and f"/rollouts/{SERVICE}/1" in page and "config 3 rolled back" in page
    assert "/projects/shop/incidents/1" in page and "try it" in page
    assert hostile not in page and "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("age", "window"),
    [
        (timedelta(minutes=5), "1 hour"),
        (timedelta(hours=5), "24 hours"),
        (timedelta(days=5), "7 days"),
        (timedelta(days=50), "7 days"),
    ],
)
def test_a_young_projects_first_changes_fill_the_timeline(
    house: Any, client: Client, headers: Headers, age: timedelta, window: str
) -> None:
    """Five minutes after the first push a week is a blank; who names a window gets it."""
    house.credentials["owner"] = house.mint("owner", timedelta(days=90))
    house.clock.at += age
    assert f"{window}: what reached" in client.get("/projects/shop/delivery", headers=headers("owner")).text
    page = client.get("/projects/shop/delivery?window=30d", headers=headers("owner")).text
    assert "30 days: what reached" in page


def test_a_count_that_stopped_at_its_bound_is_told_as_at_least(
    house: Any, client: Client, headers: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy month has more runs than one page reads."""
    monkeypatch.setattr(delivery_compose, "RUNS_MAX", 2)
    now = house.clock.now()
    for n in range(7, 10):
        commit = f"{n}" * 40
        house.write(
            Run(
                project="shop", n=n, commit=commit, branch="main", workflow="ci", state=RunState.SUCCESS,
                created_at=now,
            )
        )  # fmt: skip
    page = client.get("/projects/shop/delivery?window=30d", headers=headers("viewer")).text
    assert "At least 2 changes in 30 days." in page


def test_a_services_page_shows_config_and_hides_secrets(house: Any, client: Client, headers: Headers) -> None:
    now = house.clock.now()
    house.write(Config(service=SERVICE, n=1, values={"TIMEOUT_S": "2"}, by="anna", reason="slow", at=now))
    house.write(
        Secret(
            service=SERVICE, n=1, sealed={"API_KEY": "c2VhbGVk"}, marks={"API_KEY": "mark0001"}, by="anna",
            reason="new", at=now - timedelta(hours=1),
        )
    )  # fmt: skip
    page = client.get(f"/services/{SERVICE}", headers=headers("viewer")).text
    assert "TIMEOUT_S" in page and "API_KEY" in page and "by anna: slow" in page
    assert "c2VhbGVk" not in page and "mark0001" not in page


def test_a_form_puts_another_on_call_and_takes_it_back(
    house: Any, client: Client, schedule: OnCallSchedule
) -> None:
    """The form speaks Rome's wall time; what is cancelled stays on record."""
    csrf = browse(house, client, "developer")
    form = {"csrf": csrf, "person": "ben", "reason": "the dentist"}
    begins = (house.clock.now() + timedelta(days=1)).strftime("%Y-%m-%dT09:00")
    ends = (house.clock.now() + timedelta(days=1)).strftime("%Y-%m-%dT17:00")
    done = client.post("/projects/shop/oncall/shop/override", data=form | {"starts": begins, "ends": ends})
    assert done.status_code == 200 and "anna is on call for shop" in done.text, done.text
    [made] = overrides(house)
    assert (made.person, made.reason, made.ends_at - made.starts_at) == (
        "ben", "the dentist", timedelta(hours=8),
    )  # fmt: skip
    client.post("/projects/shop/oncall/shop/cancel", data={"csrf": csrf, "n": "1"})
    assert [one.cancelled for one in overrides(house)] == [True]


@pytest.mark.parametrize(
    "wrong",
    [
        {"person": "mallory"},
        {"starts": "soon"},
        {"ends": "2026-01-01T08:00"},
        {"reason": " "},
        {"csrf": "another-site"},
    ],
)
def test_a_wrong_form_changes_nothing(
    wrong: dict[str, str], house: Any, client: Client, schedule: OnCallSchedule
) -> None:
    """A stranger, no time, time that runs backwards, no reason, another site."""
    form = {
        "csrf": browse(house, client, "developer"), "person": "ben", "reason": "the dentist",
        "starts": "2026-01-02T09:00", "ends": "2026-01-02T17:00",
    }  # fmt: skip
    answer = client.post("/projects/shop/oncall/shop/override", data=form | wrong)
    assert answer.status_code >= 400
    assert overrides(house) == []


def test_a_viewer_sees_no_form_and_may_not_post(house: Any, client: Client, schedule: OnCallSchedule) -> None:
    csrf = browse(house, client, "viewer")
    assert "/oncall/shop/override" not in client.get("/projects/shop/oncall").text
    form = {"csrf": csrf, "person": "ben", "reason": "why not", "starts": "2026-01-02T09:00",
            "ends": "2026-01-02T17:00"}  # fmt: skip
    assert client.post("/projects/shop/oncall/shop/override", data=form).status_code == 403
    assert overrides(house) == []
