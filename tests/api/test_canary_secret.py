"""One secret, planted wherever a person or an app may put it by mistake, is read nowhere.

Excepted are the app's own log files and the 0600 key: Poise shows the former only masked.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import structlog
from litestar import Litestar
from litestar.routes import HTTPRoute
from litestar.testing import TestClient

from poise.adapters.masking import Flow, Masker
from poise.adapters.sealing import Sealer
from poise.api.logs import LINE_LIMIT, run_lines
from poise.model.delivery import Change, ChangeClass, JobRun, Run, RunState, StepRun

Headers = Callable[..., dict[str, str]]
WEB = "/api/v1/projects/shop/environments/production/services/web"
PATH = {"project": "shop", "environment": "production", "service": "web", "n": "1", "other": "0"}
CANARY = "canary-" + secrets.token_hex(16)


def plant(house: Any, client: TestClient[Litestar], headers: Headers) -> None:
    """In a secret, four reasons, a branch, a commit's summary and author, a run's problem, two logs."""

    def ask(method: str, path: str, **body: Any) -> None:
        sent = headers("owner", if_match='"0"', idempotency_key=secrets.token_hex(8))
        answer = client.request(
            method, WEB + path, json={"reason": f"because {CANARY}", **body}, headers=sent
        )
        assert answer.status_code < 300, answer.text
        assert CANARY not in answer.text

    ask("PUT", "/secret", set={"TOKEN": CANARY})
    ask("PUT", "/config", set={"A": "1"})
    ask("POST", "/orders", verb="restart")
    ask("POST", "/overrides")
    step = StepRun(name="test", state=RunState.FAILURE)
    house.write(
        Change(
            project="shop", commit="c" * 40, branch=CANARY, summary=f"use {CANARY}", author=f"eva {CANARY}",
            committed_at=house.clock.at, pushed_by="eva", pushed_at=house.clock.at,
            change_class=ChangeClass.FEATURE,
        ),
        Run(
            project="shop", n=1, commit="c" * 40, branch=CANARY, workflow="ci", created_at=house.clock.at,
            problem=f"failed with {CANARY}", state=RunState.FAILURE,
            jobs=(JobRun(id="build", steps=(step,)),),
        ),
    )  # fmt: skip
    logs = house.data / "logs" / "shop/production/web"
    logs.mkdir(parents=True)
    (logs / "1-0.log").write_text(f"token {CANARY}\n500 {CANARY}\nhalf {CANARY[:20]}")
    steps = house.data / "logs" / "runs" / "shop/000001" / "build"
    steps.mkdir(parents=True)
    (steps / "0.log").write_text(
        f"env {CANARY}\n{'x' * (LINE_LIMIT - 20)}{CANARY}{'y' * LINE_LIMIT}\nlast {CANARY}"
    )


def test_a_planted_secret_is_found_in_no_answer_and_no_record(
    house: Any, app: Litestar, client: TestClient[Litestar], headers: Headers
) -> None:
    plant(house, client, headers)
    read = 0
    for route in app.routes:
        if not isinstance(route, HTTPRoute) or route.path_format.endswith("/stream"):
            continue
        if "GET" not in route.route_handler_map:
            continue
        path = route.path_format.format_map({**dict.fromkeys(route.path_parameters, "absent"), **PATH})
        answer = client.get(path, headers=headers("owner"), follow_redirects=False)
        assert CANARY not in answer.text, path
        assert CANARY[:20] not in answer.text, path
        read += answer.status_code == 200
    assert read > 20
    shown = client.get(f"{WEB}/log", headers=headers()).json()["items"]
    assert [line["text"] for line in shown] == ["token ***", "500 ***", "half ***"]
    assert CANARY not in client.get(f"/api/v1/nothing/{CANARY}", headers=headers()).text
    for held in house.data.rglob("*"):
        if held.is_file() and "logs" not in held.parts:
            assert CANARY.encode() not in held.read_bytes(), held.name
    assert not client.get("/api/v1/audit", headers=headers("owner")).json()["problem"]


def test_a_value_across_the_cuts_of_a_long_line_is_masked(
    house: Any, client: TestClient[Litestar], headers: Headers
) -> None:
    plant(house, client, headers)
    run = anyio.run(house.store.get, Run, "shop/000001")[0]
    text = "".join(line.text for line in run_lines(house.data, run, 0, 100, house.parts.masker))
    assert text.count("***") == 3
    assert "canary" not in text


def test_every_way_to_cut_a_text_gives_the_same_masked_text() -> None:
    masker = Masker(Sealer(bytes(32)))
    masker.add(["hunter2-hunter3", "hunter2", "line one of it\nline two of it"])
    text = "a hunter2-hunter3 b hunter2 c line two of it"
    for cut in range(len(text)):
        flow = Flow(masker)
        assert flow.feed(text[:cut]) + flow.feed(text[cut:]) + flow.end() == "a *** b *** c ***", cut


def test_a_weak_secret_that_is_a_word_breaks_no_name() -> None:
    masker = Masker(Sealer(bytes(32)))
    masker.add(["storefront"])
    masked = masker.data({"key": "shop/production/storefront", "reason": "it is storefront"})
    assert masked == {"key": "shop/production/storefront", "reason": "it is ***"}


def test_the_trace_of_a_mistake_shows_neither_a_secret_nor_local_values() -> None:
    """What is drawn after the mask is not masked; local values of a hundred series took the loop seconds."""
    masker = Masker(Sealer(bytes(32)))
    masker.add([CANARY])
    said = io.StringIO()
    log = structlog.wrap_logger(structlog.PrintLogger(said), processors=masker.processors())
    local = f"value {len(CANARY)}"

    def fail() -> None:
        raise RuntimeError(f"no {CANARY} of {local!r}")

    with pytest.raises(RuntimeError) as caught:
        fail()
    log.error("a mistake of Poise", exc_info=caught.value)
    told = said.getvalue()
    assert "RuntimeError: no *** of" in told and "in fail" in told
    assert CANARY not in told and "local = " not in told
