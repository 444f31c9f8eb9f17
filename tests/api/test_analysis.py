"""The analysis over HTTP, asked with exactly what the examples make Argo Rollouts and Flagger send.

Source of the shapes: argoproj/argo-rollouts docs/analysis/web.md (method, body, jsonPath, result);
fluxcd/flagger docs/gitbook/usage/webhooks.md (name, namespace, phase, checksum, metadata; a 2xx of a rollback
hook rolls back, any other status of the others halts).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from poise.api.begun import Begun
from poise.model.errors import Unreachable
from poise.model.samples import AnswerKind, Frame, Labels
from poise.model.service import Service

yaml = pytest.importorskip("yaml")
Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
BESIDE = Path(__file__).parents[2] / "examples" / "beside"
PATH = "/api/v1/projects/shop/environments/production/services/web/analysis"


class Counted:
    """A metrics store whose counters grow evenly: of each arm so many requests and bad ones a second."""

    def __init__(self, canary: tuple[float, float], stable: tuple[float, float]) -> None:
        self.rates = {"canary": canary, "stable": stable}
        self.is_down = False
        self.asked: list[str] = []

    async def query_range(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, limits: Any = None
    ) -> Frame:
        if self.is_down:
            raise Unreachable("POISE-H110", "the metrics server cannot be reached")
        self.asked.append(expression)
        at_ms = np.arange(start_ms, end_ms + 1, step_ms)
        is_stable = any(word in expression for word in ("stable", "primary", "baseline"))
        all_, bad = self.rates["stable" if is_stable else "canary"]
        rate = bad if "5.." in expression else all_
        series: tuple[Labels, ...] = ((("pod", "a"),),) if rate else ()
        values = (at_ms / 1000.0 * rate)[None, :] if rate else np.empty((0, len(at_ms)))
        return Frame(
            kind=AnswerKind.MATRIX, at_ms=at_ms, series=series, values=values, present=np.isfinite(values)
        )


@pytest.fixture
def counted(house: Any) -> Callable[[tuple[float, float], tuple[float, float]], Counted]:
    """Put a metrics store with such rates behind every data source of the house, before its app is made."""
    house.write(Service(project="shop", environment="production", name="web", command="x", port=8000))

    def put(canary: tuple[float, float], stable: tuple[float, float]) -> Counted:
        store = Counted(canary, stable)

        async def of(project: str, name: str) -> Any:
            assert (project, name) == ("shop", "prometheus")
            return store

        object.__setattr__(house.parts, "sources", of)
        return store

    return put


def argo(client: Client, token: dict[str, str]) -> Any:
    """What Argo's web provider sends for the example, and what it takes as ``result``."""
    template = next(yaml.safe_load_all((BESIDE / "analysis-template.yaml").read_text()))
    (metric,) = template["spec"]["metrics"]
    web = metric["provider"]["web"]
    body = web["body"].replace("{{args.canary-hash}}", "canary1").replace("{{args.stable-hash}}", "stable1")
    path = web["url"].removeprefix("http://poise:8700")
    assert path == PATH and web["method"] == "POST" and web["jsonPath"] == "{$.value}"
    answer = client.post(path, content=body, headers=token | {"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def flagger(client: Client, type_: str, password: str, checksum: str = "85d557f47b") -> Any:
    """What Flagger posts to the example's webhook of a type."""
    canary = yaml.safe_load((BESIDE / "flagger.yaml").read_text())
    (hook,) = (one for one in canary["spec"]["analysis"]["webhooks"] if one["type"] == type_)
    payload = {
        "name": "web", "namespace": "shop", "phase": "Progressing", "checksum": checksum,
        "metadata": hook["metadata"],
    }  # fmt: skip
    path = hook["url"].partition("poise:8700")[2]
    return client.post(path, json=payload, auth=("flagger", password))


@pytest.mark.parametrize(
    ("canary", "stable", "value", "finding"),
    [
        ((5.0, 1.0), (45.0, 0.05), -1, "harm"),
        ((5.0, 0.0), (45.0, 0.5), 1, "safe"),
        ((0.5, 0.0), (4.5, 0.0), 0, "undecided"),
        ((0.0, 0.0), (45.0, 0.5), 0, "undecided"),
    ],
)
def test_argo_reads_one_number(
    client: Client, headers: Headers, counted: Any, canary: tuple[float, float],
    stable: tuple[float, float], value: int, finding: str,
) -> None:  # fmt: skip
    """Below 0 fails the run at once; no data is a measurement that decides nothing."""
    counted(canary, stable)
    found = argo(client, headers("viewer"))
    assert (found["value"], found["finding"]) == (value, finding), found["sentence"]
    assert found["sentence"].startswith(finding) and found["threshold"] == 20.0
    if not canary[0]:
        assert "no data is no evidence" in found["sentence"]


def test_a_store_that_cannot_be_read_is_an_error_and_no_finding(
    client: Client, headers: Headers, counted: Any
) -> None:
    """Argo counts errors apart from failures (consecutiveErrorLimit); Flagger halts."""
    counted((5.0, 1.0), (45.0, 0.05)).is_down = True
    body = {"source": "prometheus", "canary": {"total": "a_total", "bad": "b_total"},
            "baseline": {"total": "stable_total", "bad": "c_total"}}  # fmt: skip
    answer = client.post(PATH, json=body, headers=headers("viewer"))
    assert answer.status_code >= 500 and answer.json()["code"] == "POISE-H110"


def test_flagger_goes_back_on_harm_and_on_nothing_else(house: Any, client: Client, counted: Any) -> None:
    """The trial of a revision begins with the first question about it, so another one owes nothing to it."""
    password = house.credentials["viewer"]
    counted((5.0, 1.0), (45.0, 0.05))
    first = flagger(client, "rollback", password)
    assert (first.status_code, first.json()["finding"]) == (409, "undecided")
    house.clock.at += timedelta(seconds=600)
    assert flagger(client, "rollback", password).status_code == 200
    assert flagger(client, "rollout", password).status_code == 409
    assert flagger(client, "confirm-promotion", password).status_code == 409
    assert flagger(client, "rollback", password, checksum="other").status_code == 409


def test_flagger_promotes_what_is_proven_and_waits_while_nothing_is(
    house: Any, client: Client, counted: Any
) -> None:
    password = house.credentials["viewer"]
    store = counted((50.0, 0.0), (450.0, 5.0))
    assert flagger(client, "rollout", password).status_code == 200
    assert flagger(client, "confirm-promotion", password).status_code == 409
    house.clock.at += timedelta(seconds=1500)
    assert flagger(client, "confirm-promotion", password).status_code == 200
    assert flagger(client, "rollback", password).status_code == 409
    assert any("web-primary" in one for one in store.asked)


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        ({"canary": {"total": "a_total"}}, "POISE-E441", "canary"),
        ({"canary": {"total": "a_total / b_total", "bad": "c_total"}}, "POISE-E442", "canary.total:9"),
        ({"canary": None}, "POISE-E445", "canary, baseline"),
        ({"step_s": 1, "window_s": 86_400}, "POISE-E440", "step"),
        ({"readings": [{"at_s": 1, "canary_requests": 1, "canary_errors": 0, "baseline_requests": 1,
                        "baseline_errors": 0}]}, "POISE-E445", "readings"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_said_with_its_place(
    client: Client, headers: Headers, counted: Any, change: dict[str, Any], code: str, where: str
) -> None:
    counted((5.0, 1.0), (45.0, 0.05))
    body = {"source": "prometheus", "canary": {"total": "a_total", "bad": "b_total"},
            "baseline": {"total": "stable_total", "bad": "c_total"}} | change  # fmt: skip
    answer = client.post(PATH, json=body, headers=headers("viewer"))
    assert (answer.status_code, answer.json()["code"], answer.json()["where"]) == (422, code, where)


def test_counts_that_are_sent_are_judged_as_those_that_are_read(
    client: Client, headers: Headers, counted: Any
) -> None:
    """No Prometheus at all; evidence of harm that was shown stays shown whatever comes after it."""
    counted((5.0, 1.0), (45.0, 0.05))
    rows = [{"at_s": 10.0 * n, "canary_requests": 50, "canary_errors": 9 if n < 5 else 0,
             "baseline_requests": 450, "baseline_errors": 1} for n in range(1, 200)]  # fmt: skip
    found = client.post(PATH, json={"readings": rows}, headers=headers("viewer")).json()
    assert (found["value"], found["canary"]["requests"]) == (-1, 199 * 50)
    assert found["harm_at_s"] is not None and found["harm_at_s"] <= 40
    wrong = [rows[0] | {"canary_errors": 51}]
    refused = client.post(PATH, json={"readings": wrong}, headers=headers("viewer"))
    assert (refused.status_code, refused.json()["where"]) == (422, "readings[0]")


def test_a_webhook_that_is_misspelt_names_the_key(house: Any, client: Client, counted: Any) -> None:
    counted((5.0, 1.0), (45.0, 0.05))
    for metadata, where in (
        ({"ask": "maybe"}, "metadata.ask"),
        ({"ask": "harm"}, "metadata.canary_total"),
        ({"canery_total": "x"}, "metadata.canery_total"),
    ):
        call = {"name": "web", "namespace": "shop", "phase": "Progressing", "metadata": metadata}
        answer = client.post(f"{PATH}/flagger", json=call, auth=("flagger", house.credentials["viewer"]))
        assert (answer.status_code, answer.json()["where"]) == (422, where)


def test_the_workflow_asks_what_the_api_reads(client: Client, headers: Headers, counted: Any) -> None:
    """The example's body as it stands, with the start that its step adds."""
    counted((5.0, 1.0), (45.0, 0.05))
    workflow = yaml.safe_load((BESIDE / "github-actions.yaml").read_text())
    body = json.loads(workflow["jobs"]["watch"]["env"]["COUNTERS"])
    assert client.post(PATH, json=body, headers=headers("viewer")).json()["value"] == -1
    naive = client.post(PATH, json=body | {"since": "2026-01-01T00:00:00"}, headers=headers("viewer"))
    assert (naive.status_code, naive.json()["code"]) == (422, "POISE-E446")


def test_what_is_asked_about_longest_ago_is_forgotten_first() -> None:

    begun, now = Begun(most=2), datetime(2026, 1, 1, tzinfo=UTC)
    later = now + timedelta(hours=1)
    assert [begun.since(key, now) for key in ("a", "b")] == [now, now]
    assert begun.since("a", later) == now
    begun.since("c", later)
    assert (begun.since("a", later), begun.since("b", later)) == (now, later)


def test_there_is_no_analysis_of_what_was_never_rolled_out(
    client: Client, headers: Headers, house: Any
) -> None:
    house.write(Service(project="shop", environment="production", name="web", command="x", port=8000))
    for which in ("7", "latest"):
        path = PATH.replace("/analysis", f"/rollouts/{which}/analysis")
        assert client.get(path, headers=headers("viewer")).json()["code"] == "POISE-E404"
