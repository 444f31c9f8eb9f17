"""Overrides and grants on the pages: asked with a reason and an end, decided by another, told ever after."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

import anyio
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from msgspec.structs import replace

from poise.api.access import SESSION_COOKIE
from poise.balance.gate.seal import is_genuine
from poise.model.balance import Budget, Override
from poise.model.delivery import Change, ChangeClass, Rollout, RolloutState
from poise.model.grant import Grant
from poise.model.incident import Summons
from poise.model.record import Write
from poise.model.service import Approvals, Service
from poise.ports.store import Transaction
from poise.reliability.paging.link import Claim, sign
from poise.web import pages
from poise.web.sign_in import CSRF_COOKIE

Client = TestClient[Litestar]
KEY = "shop/production/web"
PAGE, ROLLOUT = f"/services/{KEY}", f"/rollouts/{KEY}/2"
ASK, DECIDE = f"/permits/{KEY}/ask", f"/permits/{KEY}/decide"


@pytest.fixture
def client(house: Any) -> Iterator[Client]:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        client.follow_redirects = False
        yield client


@pytest.fixture
def left(house: Any) -> Callable[[float], None]:
    """Set what is left of the budget; release 1 is live, release 2 waits, pushed by a developer."""

    def set_left(ratio: float) -> None:
        now = house.clock.now()
        service = Service(project="shop", environment="production", name="web", command="x", port=8000)
        budget = Budget(
            service=KEY, objective="availability", target_ratio=0.999, window_s=2_419_200.0, good=1e6,
            bad=1000 * (1 - ratio), allowed=1000.0, left_ratio=ratio, burns=(), coverage_ratio=1.0,
            bootstrap=False, since=now - timedelta(days=30), measured_at=now, at=now,
        )  # fmt: skip
        live = Rollout(
            project="shop", environment="production", service="web", n=1, release=1, digest="d1",
            revision="r1", commit="c1", summary="s", change_class=ChangeClass.FEATURE, spec=service,
            state=RolloutState.LIVE, created_at=now,
        )  # fmt: skip
        waits = replace(live, n=2, release=2, digest="d2", commit="c2", state=RolloutState.WAITING)
        change = Change(
            project="shop", commit="c2", branch="main", summary="s", author="d", committed_at=now,
            pushed_by="developer", pushed_at=now, change_class=ChangeClass.FEATURE,
        )  # fmt: skip
        house.write(budget, live, waits, change)

    return set_left


def browse(house: Any, client: Client, who: str) -> dict[str, str]:
    """A browser of this person; the field that its forms carry."""
    client.cookies[SESSION_COOKIE] = house.credentials[who]
    client.get("/")
    return {"csrf": client.cookies[CSRF_COOKIE]}


def form_of(page: str, form_id: str) -> dict[str, str]:
    """What the form would post as it stands."""
    form = page.partition(f'<form id="{form_id}"')[2].partition("</form>")[0]
    assert form, f"no form {form_id}"
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
    chosen = re.findall(r'name="(\w+)"><option value="([^"]+)"', form)
    selected = re.findall(r'<option value="([^"]+)" selected', form)
    return {**hidden, **dict(chosen), **({"expires_s": selected[0]} if selected else {})}


def stored(house: Any, kind: Any) -> list[Any]:
    found: list[Any] = anyio.run(house.store.scan, kind, f"{KEY}/")[0]
    return found


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_an_operator_approves_what_another_pushed_from_its_page(
    house: Any, client: Client, left: Callable[[float], None]
) -> None:
    """The push was the first person's word; the page then says who, when and why."""
    left(0.05)
    browse(house, client, "operator")
    page = client.get(ROLLOUT).text
    form = form_of(page, "act-approval")
    assert "needs an operator" in page and "goes slowly: at most" in page
    answer = client.post(ASK, data={**form, "reason": "looked at the diff"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{ROLLOUT}#permits")
    (grant,) = stored(house, Grant)
    assert (grant.by, grant.digest, grant.allowed) == ("operator", "d2", True)
    assert grant.expires_at - grant.at == timedelta(hours=1)
    assert is_genuine(grant, house.parts.signing_key)
    told = words(client.get(ROLLOUT).text)
    assert "in force approval 1 of one release operator looked at the diff operator, 1 Mar 12:00" in told
    assert 'id="act-approval"' not in client.get(ROLLOUT).text, "what is granted is offered again"


def test_each_of_two_approvals_is_given_from_the_page_which_says_whose_word_is_wanted(
    house: Any, client: Client, left: Callable[[float], None]
) -> None:
    """The first approval alone lets nothing in, and still has to be given by somebody."""
    left(0.9)
    [waits] = [one for one in stored(house, Rollout) if one.n == 2]
    house.write(replace(waits.spec, approvals=Approvals(required=2)))
    browse(house, client, "operator")
    page = client.get(ROLLOUT).text
    assert "0 of 2 approvals Still needed: 2 of admin, operator, owner." in words(page)
    form = form_of(page, "act-approval")
    assert "Granted, it would still be held: 1 of 2 approvals" in page
    assert client.post(ASK, data={**form, "reason": "looked at the diff"}).status_code == 303
    mine = client.get(ROLLOUT).text
    assert (
        "1 of 2 approvals operator at 1 Mar 12:00 : looked at the diff Still needed: 1 of admin, owner."
        in words(mine)
    )
    assert 'id="act-approval"' not in mine, "who has approved is asked again"
    browse(house, client, "admin")
    form = form_of(client.get(ROLLOUT).text, "act-approval")
    assert client.post(ASK, data={**form, "reason": "seen in staging"}).status_code == 303
    told = words(client.get(ROLLOUT).text)
    assert "2 of 2 approvals" in told and "Nobody else has to approve it." in told


def test_whoever_waits_for_an_approval_is_not_offered_to_ask_again(
    house: Any, client: Client, left: Callable[[float], None]
) -> None:
    """The author may ask for one; until somebody answers, a second wish would be noise."""
    left(0.9)
    [waits] = [one for one in stored(house, Rollout) if one.n == 2]
    house.write(replace(waits.spec, approvals=Approvals(required=1)))
    browse(house, client, "developer")
    form = form_of(client.get(ROLLOUT).text, "act-approval")
    assert client.post(ASK, data={**form, "reason": "please look"}).status_code == 303
    page = client.get(ROLLOUT).text
    assert 'id="act-approval"' not in page and "approval 1 of one release of developer" in words(page)
    assert "0 of 1 approval Still needed: 1 of admin, operator, owner." in words(page)


def test_an_override_waits_for_a_second_operator_who_says_why(
    house: Any, client: Client, left: Callable[[float], None]
) -> None:
    """Two people, two reasons, one record; who asked has no button to approve."""
    left(-0.2)
    browse(house, client, "operator")
    asked = form_of(client.get(PAGE).text, "act-override")
    assert (
        client.post(ASK, data={**asked, "reason": "the fair opens", "expires_s": "14400"}).status_code == 303
    )
    mine = client.get(PAGE).text
    assert "override 1 of operator" in words(mine) and 'id="allow-override-1"' not in mine
    csrf = browse(house, client, "admin")
    form = form_of(client.get(PAGE).text, "allow-override-1")
    silent = client.post(DECIDE, data={**form, **csrf, "reason": " "})
    assert silent.status_code == 422 and not stored(house, Override)[0].is_approved
    assert client.post(DECIDE, data={**form, **csrf, "reason": "it is worth it"}).status_code == 303
    (override,) = stored(house, Override)
    assert (override.by, override.approved_by) == ("operator", "admin")
    assert override.reason == "the fair opens; admin: it is worth it"
    assert override.expires_at - override.at == timedelta(hours=4)
    page = client.get(PAGE).text
    assert "in force override 1 operator the fair opens; admin: it is worth it admin, 1 Mar 12:00" in words(
        page
    )


def test_a_dispute_is_refused_by_whom_the_policy_names_and_by_nobody_else(
    house: Any, client: Client, left: Callable[[float], None]
) -> None:
    """The role opens the page; the policy says who rules."""
    left(-0.2)
    browse(house, client, "developer")
    page = client.get(PAGE).text
    assert 'id="act-override"' not in page, "a developer cannot override"
    assert (
        client.post(ASK, data={**form_of(page, "act-ruling"), "reason": "the fair opens"}).status_code == 303
    )
    csrf = browse(house, client, "operator")
    assert 'id="refuse-ruling-1"' not in client.get(PAGE).text
    answer = {"what": "grant", "n": "1", "answer": "refuse", "reason": "no"}
    forced = client.post(DECIDE, data={**answer, **csrf, "reason": "I say so"})
    assert (forced.status_code, "POISE-B406" in forced.text) == (403, True)
    browse(house, client, "admin")
    form = form_of(client.get(PAGE).text, "refuse-ruling-1")
    assert client.post(DECIDE, data={**form, "reason": "wait for Monday"}).status_code == 303
    told = words(client.get(PAGE).text)
    assert "refused ruling 1 developer the fair opens; admin: wait for Monday admin, 1 Mar 12:00" in told


def test_a_dispute_tells_who_was_paged_and_the_link_of_the_page_acknowledges_it(
    house: Any, client: Client, left: Callable[[float], None]
) -> None:
    """Opening the link acknowledges nothing; the button does, once, and the service's page says so."""
    left(-0.2)
    browse(house, client, "developer")
    client.post(ASK, data={**form_of(client.get(PAGE).text, "act-ruling"), "reason": "the fair opens"})
    key, until = f"{KEY}/000001", house.clock.now() + timedelta(hours=24)
    summons = Write(kind="Summons", key=key, body=Summons(dispute=key, told=("cto",), pages=1))
    anyio.run(house.store.commit, Transaction(at=house.clock.now(), writes=[summons]))
    assert "cto was paged for it." in words(client.get(PAGE).text)
    claim = Claim(incident="", dispute=key, person="cto", expires_at=until)
    link = f"/ack/{sign(house.parts.signing_key, claim)}"
    shown = client.get(link).text
    assert "Dispute 1 of web" in shown and "the fair opens" in shown and "Acknowledge as cto" in shown
    assert "cto was paged for it." in words(client.get(PAGE).text), "a look has acknowledged it"
    assert "Acknowledged by cto. It still waits for a decision." in client.post(link).text
    assert "Already acknowledged by cto" in client.post(link).text
    assert "cto has seen it at 1 Mar 12:00 UTC." in words(client.get(PAGE).text)
    csrf = browse(house, client, "admin")
    form = form_of(client.get(PAGE).text, "allow-ruling-1")
    assert client.post(DECIDE, data={**form, **csrf, "reason": "it is worth it"}).status_code == 303
    assert "admin allowed it; nothing is needed of you" in client.post(link).text


def test_a_double_click_is_one_wish_and_a_later_one_another(
    house: Any, client: Client, left: Callable[[float], None]
) -> None:
    left(-0.2)
    browse(house, client, "developer")
    for _ in range(2):
        form = form_of(client.get(PAGE).text, "act-exemption")
        for _ in range(2):
            data = {**form, "reason": "the network was down", "cause": "network"}
            assert client.post(ASK, data=data).status_code == 303
    assert [(one.n, one.cause.value) for one in stored(house, Grant)] == [(1, "network"), (2, "network")]


@pytest.mark.parametrize(
    ("who", "change", "status"),
    [
        ("operator", {"csrf": "forged"}, 403),
        ("operator", {"reason": "x"}, 422),
        ("operator", {"expires_s": "90000"}, 422),
        ("operator", {"expires_s": "-1"}, 422),
        ("operator", {"kind": "ruler"}, 422),
        ("developer", {}, 403),
        ("viewer", {"kind": "ruling"}, 403),
    ],
    ids=["forged", "no reason", "over 24 h", "before now", "no such kind", "no operator", "a viewer"],
)
def test_what_the_api_would_refuse_a_form_cannot_get(
    house: Any, client: Client, left: Callable[[float], None], who: str, change: dict[str, str], status: int
) -> None:
    """And nothing is on record afterwards."""
    left(-0.2)
    csrf = browse(house, client, who)
    data = {**csrf, "kind": "override", "reason": "the fair opens", "expires_s": "3600", **change}
    assert client.post(ASK, data=data).status_code == status
    assert stored(house, Override) == [] and stored(house, Grant) == []


def test_a_record_that_was_edited_in_the_store_is_shown_as_granting_nothing(
    house: Any, client: Client, left: Callable[[float], None]
) -> None:
    """Else the page would say what the gate does not believe."""
    left(-0.2)
    now = house.clock.now()
    house.write(
        Override(
            service=KEY, n=1, by="eve", reason="please", at=now, expires_at=now + timedelta(hours=1),
            signature="x", alone=True,
        )
    )  # fmt: skip
    browse(house, client, "viewer")
    page = client.get(PAGE).text
    assert "not signed here override 1 eve" in words(page) and "<form" not in page.partition("<main")[2]


def test_who_may_only_look_sees_the_record_and_no_button(samples: ModuleType) -> None:
    view = samples.held_service()
    quiet = replace(
        view.permits, offers=(), rows=tuple(replace(row, may_decide=False) for row in view.permits.rows)
    )
    html = pages.service(
        replace(view, permits=quiet, chrome=replace(view.chrome, may_act=False, may_say=False))
    )
    assert "/permits/" not in html and "Asked and granted" in html and "ana was paged at" in html
