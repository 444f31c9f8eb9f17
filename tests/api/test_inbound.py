"""Alertmanager and CloudEvents: what is told twice is told once, and what is bad stores nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient

from poise.model.event_types import ALERT_FIRING, ALERT_RESOLVED, ALERTS_TRUNCATED
from poise.model.incident import Alert, AlertState, Severity

ALERTS = "/api/v1/projects/shop/webhooks/alertmanager"
EVENTS = "/api/v1/projects/shop/events"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
FIXTURES = sorted((Path(__file__).parents[1] / "cdevents" / "conformance").rglob("*.json"))
JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=9,
)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]


def fired(n: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "HighErrors", "service": "web", "severity": "critical", "instance": f"i{n}"},
        "annotations": {"summary": f"web fails on i{n}"},
        "startsAt": "2026-03-01T11:58:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": f"{n:016x}",
    } | more


def payload(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": "4", "groupKey": "{}:{alertname=\"HighErrors\"}", "truncatedAlerts": 0, "status": "firing",
        "receiver": "poise", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager", "alerts": list(alerts),
    } | more  # fmt: skip


def alerts(house: Any) -> list[Alert]:
    return anyio.run(house.store.scan, Alert, "shop/")[0]


def types(house: Any) -> list[str]:
    return [row.event.type for row in anyio.run(house.store.journal)]


def cdevent(n: int = 1, kind: str = "dev.cdevents.service.deployed.0.3.0", **more: Any) -> dict[str, Any]:
    context = {
        "specversion": "0.5.1", "id": f"e{n}", "source": "/ci", "type": kind,
        "timestamp": "2026-03-01T11:59:00Z",
    }  # fmt: skip
    content = {"environment": {"id": "production"}, "artifactId": "pkg:generic/web@1"}
    return {"context": context, "subject": {"id": "web", "content": content}} | more


def cloud(event: dict[str, Any], **more: Any) -> dict[str, Any]:
    context = event["context"]
    return {
        "specversion": "1.0", "id": context["id"], "source": context["source"], "type": context["type"],
        "time": context["timestamp"], "subject": event["subject"]["id"], "data": event,
        "datacontenttype": "application/json",
    } | more  # fmt: skip


def test_an_alert_is_put_at_its_service_with_its_onset(house: Any, client: Client, headers: Headers) -> None:
    answer = client.post(ALERTS, json=payload(fired()), headers=headers("developer"))
    assert (answer.status_code, answer.json()["firing"]) == (200, 1), answer.text
    (alert,) = alerts(house)
    assert alert.key == f"shop/production/web/alertmanager:{1:016x}"
    assert (alert.severity, alert.state, alert.summary) == (
        Severity.SEV1,
        AlertState.FIRING,
        "web fails on i1",
    )
    assert alert.started_at.isoformat() == "2026-03-01T11:58:00.123457+00:00"
    assert types(house)[-1] == ALERT_FIRING


def test_repeats_say_nothing_new_and_an_end_ends(house: Any, client: Client, headers: Headers) -> None:
    ended = fired(status="resolved", endsAt="2026-03-01T11:59:30Z")
    later = fired(startsAt="2026-03-01T11:59:40Z")
    told = [
        client.post(ALERTS, json=payload(one), headers=headers("developer")).json()
        for one in (fired(), fired(), ended, ended, later, fired(startsAt="2026-03-01T10:00:00Z"))
    ]
    assert [(one["firing"], one["resolved"], one["repeated"]) for one in told] == [
        (1, 0, 0), (0, 0, 1), (0, 1, 0), (0, 0, 1), (1, 0, 0), (0, 0, 1),
    ]  # fmt: skip
    (alert,) = alerts(house)
    assert (alert.count, alert.state) == (2, AlertState.FIRING)
    assert [kind for kind in types(house) if "alert" in kind] == [ALERT_FIRING, ALERT_RESOLVED, ALERT_FIRING]


def test_an_alert_of_no_declared_service_is_kept_apart(house: Any, client: Client, headers: Headers) -> None:
    odd = fired(labels={"job": "node", "env": "nowhere", "severity": "odd"}, annotations={})
    client.post(ALERTS, json=payload(odd, truncatedAlerts=3), headers=headers("developer"))
    (alert,) = alerts(house)
    assert (alert.service, alert.severity) == ("shop/production/-", Severity.SEV3)
    assert types(house)[-1] == ALERTS_TRUNCATED


def test_text_of_others_is_bounded(house: Any, client: Client, headers: Headers) -> None:
    long = {f"l{n}": "x\n\x1b[31m" * 900 for n in range(60)} | {"service": "web"}
    shout = fired(labels=long, annotations={"summary": "<script>" * 1000})
    client.post(ALERTS, json=payload(shout), headers=headers("developer"))
    (alert,) = alerts(house)
    assert len(alert.summary) <= 300
    assert len(alert.labels) <= 32
    assert all(len(value) <= 200 and value.isprintable() for value in alert.labels.values())


def test_a_thousand_alerts_are_taken_at_once(house: Any, client: Client, headers: Headers) -> None:
    """Half of a megabyte in one request; the bound is wide since machines that run tests are slow."""
    began = time.perf_counter()
    answer = client.post(ALERTS, json=payload(*map(fired, range(1000))), headers=headers("developer"))
    took_s = time.perf_counter() - began
    print(f"1,000 alerts in {took_s:.2f} s")
    assert (answer.status_code, answer.json()["firing"], len(alerts(house))) == (200, 1000, 1000)
    assert took_s < 20


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"version":"4"}', json.dumps(payload(version="3")).encode(),
     json.dumps(payload({"status": "odd", "startsAt": "x"})).encode(), b"[" * 9000],
)  # fmt: skip
def test_what_is_no_payload_stores_nothing(house: Any, client: Client, headers: Headers, body: bytes) -> None:
    before = len(types(house))
    answer = client.post(ALERTS, content=body, headers=headers("developer"))
    assert (answer.status_code, answer.json()["code"]) == (422, "POISE-E426")
    assert (alerts(house), len(types(house))) == ([], before)


@pytest.mark.parametrize("form", ["structured", "binary", "batch"])
def test_every_conformance_event_is_taken_in_every_form(
    house: Any, client: Client, headers: Headers, form: str
) -> None:
    told = [json.loads(path.read_text()) for path in FIXTURES]
    for n, event in enumerate(told):
        event["context"]["id"] = f"fixture-{n}"  # several share one id
        whole = cloud(event)
        match form:
            case "structured":
                sent = client.post(EVENTS, json=whole, headers=headers("developer", content_type=STRUCTURED))
            case "batch":
                sent = client.post(EVENTS, json=[whole], headers=headers("developer", content_type=BATCH))
            case _:
                named = {
                    f"ce-{name}": whole[name] for name in ("specversion", "id", "source", "type", "time")
                }
                sent = client.post(EVENTS, json=event, headers={**headers("developer"), **named})
        assert (sent.status_code, sent.json()) == (202, {"stored": 1, "repeated": 0, "unknown": 0}), sent.text
    kept = [row.event for row in anyio.run(house.store.journal) if row.event.data.get("external")]
    assert [(event.type, event.data["event"]) for event in kept] == [
        (event["context"]["type"], event) for event in told
    ]
    assert len(kept) == 45


def test_every_conformance_event_without_its_subject_is_refused(
    house: Any, client: Client, headers: Headers
) -> None:
    before = types(house)
    for path in FIXTURES:
        event = json.loads(path.read_text())
        whole = cloud(event)
        del event["subject"]["id"]
        sent = client.post(EVENTS, json=whole, headers=headers("developer", content_type=STRUCTURED))
        assert (sent.status_code, sent.json()["code"]) == (422, "POISE-E425"), path
        assert sent.json()["mend"]
    assert types(house) == before


def test_an_event_told_twice_is_stored_once(house: Any, client: Client, headers: Headers) -> None:
    def send(*events: dict[str, Any]) -> Any:
        told = [cloud(event) for event in events]
        return client.post(EVENTS, json=told, headers=headers("developer", content_type=BATCH)).json()

    assert send(cdevent(1), cdevent(2), cdevent(1)) == {"stored": 2, "repeated": 1, "unknown": 0}
    assert send(cdevent(2), cdevent(3)) == {"stored": 1, "repeated": 1, "unknown": 0}
    subjects = [row.event.subject for row in anyio.run(house.store.journal) if "cdevents" in row.event.type]
    assert subjects == ["shop/production/web"] * 3


def test_any_minor_version_and_any_unknown_type_is_taken(
    house: Any, client: Client, headers: Headers
) -> None:
    events = [
        cloud(cdevent(1, "dev.cdevents.service.deployed.0.9.1-draft", subject={"id": "web", "content": {}})),
        cloud(cdevent(2, "dev.cdevents.approval.created.0.1.0")),
        cloud(cdevent(3, "com.example.thing"), data="text"),
        cloud(cdevent(4, "com.example.thing"), data=None),
    ]
    sent = client.post(EVENTS, json=events, headers=headers("developer", content_type=BATCH))
    assert (sent.status_code, sent.json()) == (202, {"stored": 4, "repeated": 0, "unknown": 3}), sent.text


def test_an_incident_elsewhere_is_an_alert_here(house: Any, client: Client, headers: Headers) -> None:
    for n, word in enumerate(("detected", "resolved")):
        content = {"environment": {"id": "production"}, "service": {"id": "web"}, "description": "it burns"}
        event = cdevent(n, f"dev.cdevents.incident.{word}.0.3.0", subject={"id": "i7", "content": content})
        sent = client.post(EVENTS, json=cloud(event), headers=headers("developer", content_type=STRUCTURED))
        assert sent.status_code == 202, sent.text
    (alert,) = alerts(house)
    assert (alert.service, alert.state) == ("shop/production/web", AlertState.RESOLVED)


@pytest.mark.parametrize(
    "spoil",
    [
        {"specversion": "0.3"}, {"id": ""}, {"source": None}, {"type": "dev.poise.gate.answered"},
        {"type": "dev.cdevents.service.upgraded.0.3.0"}, {"id": "another"}, {"time": "soon"},
        {"id": "x" * 999}, {"data": []}, {"data_base64": "!"}, {"type": "a\nb"},
    ],
)  # fmt: skip
def test_one_bad_event_refuses_the_whole_batch(
    house: Any, client: Client, headers: Headers, spoil: dict[str, Any]
) -> None:
    before = types(house)
    batch = [cloud(cdevent(1)), cloud(cdevent(2), **spoil)]
    sent = client.post(EVENTS, json=batch, headers=headers("developer", content_type=BATCH))
    assert (sent.status_code, "event 1 of the batch" in sent.text) == (422, True), sent.text
    assert types(house) == before


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415), ("text/plain", b"hello", 415), (STRUCTURED, b"{", 422),
        (BATCH, b"{}", 422), (STRUCTURED, b"[" * 9000, 422), (STRUCTURED, b"x" * 1_100_000, 413),
        (STRUCTURED, b'{"a":' * 80 + b"1" + b"}" * 80, 422), (BATCH, b"[" + b"{}," * 1500 + b"{}]", 413),
        ("", b"", 415),
    ],
)  # fmt: skip
def test_what_is_no_cloud_event_is_refused_with_a_mend(
    client: Client, headers: Headers, kind: str, body: bytes, status: int
) -> None:
    sent = client.post(EVENTS, content=body, headers=headers("developer", content_type=kind))
    assert sent.status_code == status, sent.text
    assert sent.json()["mend"]


@FUZZ
@given(said=JSONS, inner=JSONS, name=st.integers())
def test_no_body_whatever_is_our_fault(
    client: Client, headers: Headers, said: Any, inner: Any, name: int
) -> None:
    shaped = cloud(cdevent(1), id=f"n{name}", type="com.example.x", data=inner)
    for body in (said, shaped, cloud(cdevent(1), data=inner)):
        sent = client.post(EVENTS, json=body, headers=headers("developer", content_type=STRUCTURED))
        assert sent.status_code in (202, 422), sent.text
    for alert in (said, inner, fired(labels=inner), fired(startsAt=inner)):
        told = client.post(ALERTS, json=payload(alert), headers=headers("developer"))
        assert told.status_code in (200, 422), told.text
