"""The gate over HTTP: the same answer for people, Flagger and Argo Rollouts; second persons by role."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from poise.balance.gate.decide import replay
from poise.model.balance import Budget, Verdict, verdict_key
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.objective import IndicatorKind, Objective
from poise.model.policy import DAY_S
from poise.model.record import Write
from poise.model.service import Service
from poise.ports.store import Transaction

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
WEB = "/api/v1/projects/shop/environments/production/services/web"
KEY = "shop/production/web"


@pytest.fixture
def left(house: Any) -> Callable[[float], None]:
    """Give the service an objective with so much of its budget left, and a live release."""

    def set_left(ratio: float) -> None:
        now = house.clock.now()
        service = Service(project="shop", environment="production", name="web", command="x", port=8000)
        objective = Objective(
            service=KEY, name="availability", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.999
        )
        budget = Budget(
            service=KEY, objective="availability", target_ratio=0.999, window_s=28 * DAY_S, good=1e6,
            bad=1000 * (1 - ratio), allowed=1000.0, left_ratio=ratio, burns=(), coverage_ratio=1.0,
            bootstrap=False, since=now - timedelta(days=30), measured_at=now, at=now,
        )  # fmt: skip
        live = Rollout(
            project="shop", environment="production", service="web", n=1, release=1, digest="d1",
            revision="r1", commit="c1", summary="s", change_class=ChangeClass.FEATURE, spec=service,
            state=RolloutState.LIVE, created_at=now,
        )  # fmt: skip
        house.write(objective, budget, live)

    return set_left


def call(**metadata: str) -> dict[str, Any]:
    """As Flagger sends it."""
    return {
        "name": "web", "namespace": "shop", "phase": "Progressing", "checksum": "85d557f47b",
        "metadata": metadata,
    }  # fmt: skip


def test_flagger_goes_on_with_200_and_waits_on_anything_else(
    client: Client, headers: Headers, left: Callable[[float], None]
) -> None:
    """confirm-rollout and confirm-traffic-increase look at the status alone."""
    left(0.6)
    answer = client.post(f"{WEB}/gate/flagger", json=call(), headers=headers("viewer"))
    assert (answer.status_code, answer.json()["value"], answer.json()["kind"]) == (200, 1, "go")
    left(-0.2)
    held = client.post(f"{WEB}/gate/flagger", json=call(), headers=headers("viewer"))
    assert (held.status_code, held.json()["value"], held.json()["level"]) == (409, 0, "freeze")
    fix = client.post(f"{WEB}/gate/flagger", json=call(**{"class": "fix"}), headers=headers("viewer"))
    assert fix.status_code == 200
    typo = client.post(f"{WEB}/gate/flagger", json=call(**{"class": "fixx"}), headers=headers("viewer"))
    assert typo.status_code == 422 and typo.json()["code"] == "POISE-E430"
    assert (
        client.post(f"{WEB}/gate/flagger", json={"nonsense": 1}, headers=headers("viewer")).status_code >= 400
    )


def test_flagger_may_put_the_token_into_the_url_as_a_password(
    house: Any, client: Client, left: Callable[[float], None]
) -> None:
    """Its webhooks send no headers of one's own."""
    left(0.6)
    answer = client.post(f"{WEB}/gate/flagger", json=call(), auth=("flagger", house.credentials["viewer"]))
    assert answer.status_code == 200
    assert client.post(f"{WEB}/gate/flagger", json=call()).status_code == 401


def test_argo_measures_one_for_go_and_zero_for_hold(
    client: Client, headers: Headers, left: Callable[[float], None]
) -> None:
    """A hold is a value that fails the analysis, not an error that is tried again."""
    left(0.2)
    slow = client.get(f"{WEB}/gate/argo", headers=headers("viewer")).json()
    assert (slow["value"], slow["kind"], slow["left_ratio"]) == (1, "slow", 0.2)
    left(-0.2)
    answer = client.get(f"{WEB}/gate/argo", headers=headers("viewer"))
    assert (answer.status_code, answer.json()["value"]) == (200, 0)
    fix = client.get(f"{WEB}/gate/argo", params={"class": "fix"}, headers=headers("viewer")).json()
    assert fix["value"] == 1


def test_an_override_needs_another_operator_over_http_too(
    client: Client, headers: Headers, left: Callable[[float], None]
) -> None:
    """The role opens the route; who asked is still not who approves."""
    left(-0.2)
    body = {"reason": "the fair opens"}
    made = client.post(f"{WEB}/overrides", json=body, headers=headers("operator", idempotency_key="a"))
    assert made.status_code == 201 and "another operator must approve" in made.json()["sentence"]
    assert client.post(f"{WEB}/gate", json={}, headers=headers("viewer")).json()["kind"] == "hold"
    approval = f"{WEB}/overrides/1/approval"
    own = client.post(approval, json={}, headers=headers("operator", idempotency_key="b"))
    assert (own.status_code, own.json()["code"]) == (403, "POISE-B408")
    client.post(approval, json={}, headers=headers("admin", idempotency_key="c"))
    assert client.post(f"{WEB}/gate", json={}, headers=headers("viewer")).json()["kind"] == "go"


def test_wishes_are_asked_listed_and_decided(
    client: Client, headers: Headers, left: Callable[[float], None]
) -> None:
    """A developer disputes, an admin rules; both stand on record."""
    left(-0.2)
    wish = {"kind": "ruling", "reason": "the fair opens", "expires_s": 3600}
    made = client.post(f"{WEB}/grants", json=wish, headers=headers("developer", idempotency_key="a"))
    assert made.status_code == 201, made.text
    ruling = {"allowed": True, "reason": "it is worth it"}
    decision = f"{WEB}/grants/1/decision"
    refused = client.post(decision, json=ruling, headers=headers("operator", idempotency_key="b"))
    assert (refused.status_code, refused.json()["code"]) == (403, "POISE-B406")
    client.post(decision, json=ruling, headers=headers("admin", idempotency_key="c"))
    found = client.get(f"{WEB}/grants", headers=headers("viewer")).json()["items"]
    assert [(one["kind"], one["by"], one["decided_by"], one["allowed"]) for one in found] == [
        ("ruling", "developer", "admin", True)
    ]
    assert client.post(f"{WEB}/gate", json={}, headers=headers("viewer")).json()["kind"] == "slow"


def test_the_policy_in_force_is_data_and_a_stored_verdict_replays(
    house: Any, client: Client, headers: Headers, left: Callable[[float], None]
) -> None:
    """What a page shows, and what an audit derives again."""
    left(0.05)
    policy = client.get(f"{WEB}/policy", headers=headers("viewer")).json()
    assert (policy["level"], policy["kind"]) == ("approval", "hold")
    assert policy["policy"]["approval_below_ratio"] == 0.1 and policy["standings"][0]["left_ratio"] == 0.05
    asked = client.post(f"{WEB}/gate", json={}, headers=headers("viewer")).json()
    verdict = msgspec.convert(asked, Verdict)
    write = Write(kind="Verdict", key=verdict_key(f"{KEY}/000001", 1), body=verdict)
    anyio.run(house.store.commit, Transaction(at=house.clock.now(), writes=[write]))
    answer = client.get(f"{WEB}/rollouts/1/verdicts/1", headers=headers("viewer"))
    stored = msgspec.json.decode(answer.content, type=Verdict)
    assert replay(stored.inputs) == stored
    assert client.get(f"{WEB}/rollouts/1/verdicts/2", headers=headers("viewer")).status_code == 404
