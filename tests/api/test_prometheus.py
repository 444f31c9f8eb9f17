"""What speaks to Prometheus speaks to Poise: paths, forms, shapes, errors and numbers are the same."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from poise.api.masked import MASK
from poise.api.prometheus_form import duration_ms, instant_ms
from poise.engine.ruling import GroupStanding, RuleStanding
from poise.model.rules import Rule, RuleAlert, RuleAlertState, RuleGroup, RuleMemory

READER = """
import time
from poise.adapters.memory_samples import MemorySamples
from poise.model.samples import Metadata, MetricKind


class Reader(MemorySamples):
    def __init__(self, path):
        super().__init__()
        for i in range(3):
            labels = (("__name__", "up"), ("i", str(i)), ("job", "shop"))
            self.add(labels, [(at * 1000, float(i)) for at in range(0, 601, 15)])
        self.add((("__name__", "leak"), ("password", "hunter2-hunter3")), [(600_000, 1.0)])

    def select(self, matchers, start_ms, end_ms, *, before=False):
        while matchers[0].value == "hangs":
            time.sleep(0.01)
        return super().select(matchers, start_ms, end_ms, before=before)

    def series(self, selectors, start_ms, end_ms):
        found = set()
        for one in selectors:
            found |= set(self.select(one, start_ms, end_ms).series)
        return sorted(found)

    def label_names(self, selectors, start_ms, end_ms):
        return sorted({name for one in self._series for name, _ in one})

    def label_values(self, label, selectors, start_ms, end_ms):
        return sorted({dict(one).get(label) for one in self._series} - {None})

    def metadata(self, name=""):
        return [Metadata(name="up", kind=MetricKind.GAUGE, help="whether it is up")]

    def close(self):
        pass
"""


GROUP = RuleGroup(name="g", rules=(Rule(alert="A", expr="x"), Rule(record="r", expr="x")))
FIRING = RuleAlert(
    rule="1",
    labels=(("alertname", "A"),),
    state=RuleAlertState.FIRING,
    active_at=datetime(2026, 11, 1, tzinfo=UTC),
)


def standings() -> list[GroupStanding]:
    memories = (RuleMemory(alerts=(FIRING,)), RuleMemory())
    rules = tuple(RuleStanding(rule=one, memory=m) for one, m in zip(GROUP.rules, memories, strict=True))
    return [
        GroupStanding(project=project, file="r.yml", group=GROUP, rules=rules)
        for project in ("shop", "secret")
    ]


@pytest.fixture
def fed(house: Any, tmp_path: Path) -> Any:
    """The house with metrics behind its worker; before it is served."""
    from poise.adapters.worker.pool import QueryWorker

    (tmp_path / "reader_of_api.py").write_text(READER)
    worker = QueryWorker(
        tmp_path / "metrics.db", reader="reader_of_api:Reader", environment={"PYTHONPATH": str(tmp_path)},
        workers=1,
    )  # fmt: skip
    house.parts = replace(house.parts, queries=worker, rules=standings)
    return house


@pytest.fixture
def served(fed: Any) -> Iterator[str]:
    """The app behind a real socket; its workers end with it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        server = uvicorn.Server(
            uvicorn.Config(fed.app(), log_config=None, lifespan="off", timeout_graceful_shutdown=1, ws="none")
        )

        async def serve() -> None:
            await server.serve(sockets=[listener])
            await fed.parts.queries.close()

        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def get(fed: Any, served: str) -> Iterator[Callable[..., Any]]:
    """GET (or POST with ``data``) as a viewer; the status and the decoded answer."""
    with httpx2.Client(base_url=served, timeout=30.0) as client:

        def get(path: str, *, who: str = "viewer", data: Any = None, **query: Any) -> tuple[int, Any]:
            headers = {"authorization": f"Bearer {fed.credentials[who]}"}
            params = {name.replace("match", "match[]"): value for name, value in query.items()}
            if data is None:
                answer = client.get(f"/api/v1/{path}", params=params, headers=headers)
            else:
                answer = client.post(f"/api/v1/{path}", params=params, data=data, headers=headers)
            assert answer.headers["content-type"] == "application/json"
            return answer.status_code, answer.json()

        yield get


def test_queries_by_get_and_by_form_answer_the_same(get: Callable[..., Any]) -> None:
    expected = {
        "resultType": "vector",
        "result": [{"metric": {"job": "shop"}, "value": [600, "3"]}],
    }
    assert get("query", query="sum by (job) (up)", time="600") == (
        200,
        {"status": "success", "data": expected},
    )
    form = {"query": "sum by (job) (up)", "time": "1970-01-01T00:10:00Z"}
    assert get("query", data=form)[1]["data"] == expected
    ranged = {"query": 'up{i="2"} / 4', "start": "0", "end": "60", "step": "30s", "stats": "all"}
    status, found = get("query_range", data=ranged)
    assert (status, found["data"]["result"]) == (
        200, [{"metric": {"i": "2", "job": "shop"}, "values": [[0, "0.5"], [30, "0.5"], [60, "0.5"]]}],
    )  # fmt: skip
    assert found["data"]["stats"]["samples"]["totalQueryableSamples"] > 0
    assert get("query", query="1/0")[1]["data"]["result"][1] == "+Inf"
    cut = get("query", query="up", time="600", limit="1")[1]
    assert (len(cut["data"]["result"]), cut["warnings"]) == (1, ["results truncated due to limit"])
    assert get("query", query="up", time="610", lookback_delta="5s")[1]["data"]["result"] == []


def test_what_there_is_can_be_listed(get: Callable[..., Any]) -> None:
    assert len(get("series", match=["up", "leak"])[1]["data"]) == 4
    assert get("series", data={"match[]": 'up{i="1"}'})[1]["data"] == [
        {"__name__": "up", "i": "1", "job": "shop"}
    ]
    assert get("labels")[1]["data"] == ["__name__", "i", "job", "password"]
    assert get("label/i/values")[1]["data"] == ["0", "1", "2"]
    assert get("metadata")[1]["data"] == {"up": [{"type": "gauge", "help": "whether it is up", "unit": ""}]}
    assert get("status/buildinfo")[1]["data"]["version"].startswith("3.")
    assert "p99_ms" in get("status/runtimeinfo")[1]["data"]["loopLag"]


def test_a_dashboard_that_asks_for_exemplars_gets_none_and_draws_the_rest(get: Callable[..., Any]) -> None:
    form = {"query": "rate(up[1m])", "start": "0", "end": "60"}
    assert get("query_exemplars", data=form) == (200, {"status": "success", "data": []})
    assert get("query_exemplars", query="up")[1]["data"] == []


def test_rules_and_alerts_are_those_of_projects_that_the_asker_may_see(get: Callable[..., Any]) -> None:
    (group,) = get("rules")[1]["data"]["groups"]
    assert len(group["rules"]) == 2
    assert [one["name"] for one in get("rules", type="record")[1]["data"]["groups"][0]["rules"]] == ["r"]
    assert [one["state"] for one in get("alerts")[1]["data"]["alerts"]] == ["firing"]
    assert get("rules", type="other")[0] == 400


@pytest.mark.parametrize(
    ("path", "query", "status", "word"),
    [
        ("query", {"query": "up{"}, 400, "bad_data"),
        ("query", {"query": ""}, 400, "bad_data"),
        ("query", {"query": "up", "time": "soon"}, 400, "bad_data"),
        ("query", {"query": "up", "timeout": "x"}, 400, "bad_data"),
        ("query", {"query": "hangs", "timeout": "200ms"}, 503, "timeout"),
        ("query", {"query": "up * on (job) up", "time": "600"}, 422, "execution"),
        ("query_range", {"query": "up", "start": "0", "end": "60"}, 400, "bad_data"),
        ("query_range", {"query": "up", "start": "60", "end": "0", "step": "1"}, 400, "bad_data"),
        ("query_range", {"query": "up", "start": "0", "end": "1000000", "step": "1"}, 400, "bad_data"),
        ("query_exemplars", {}, 400, "bad_data"),
        ("query_exemplars", {"query": "up", "start": "60", "end": "0"}, 400, "bad_data"),
        ("series", {}, 400, "bad_data"),
        ("series", {"match": "{}"}, 400, "bad_data"),
        ("query", {"query": "up", "source": "elsewhere", "project": "shop"}, 404, "not_found"),
    ],
)
def test_errors_have_prometheus_words_and_codes(
    get: Callable[..., Any], path: str, query: dict[str, str], status: int, word: str
) -> None:
    found = get(path, **query)
    assert (found[0], found[1]["status"], found[1].get("errorType")) == (status, "error", word), found
    assert found[1]["error"].startswith("POISE-")


def test_basic_auth_carries_the_token_as_password(fed: Any, served: str) -> None:
    url = f"{served}/api/v1/status/buildinfo"
    assert httpx2.get(url, auth=("grafana", fed.credentials["viewer"])).status_code == 200
    refused = httpx2.get(url, auth=("grafana", "wrong"))
    assert (refused.status_code, refused.json()["errorType"]) == (401, "unauthorized")
    assert refused.headers["www-authenticate"].startswith("Basic")


def test_a_known_secret_is_masked_in_what_streams(fed: Any, get: Callable[..., Any]) -> None:
    fed.parts.masker.add(["hunter2-hunter3"])
    (found,) = get("query", query="leak", time="600")[1]["data"]["result"]
    assert found["metric"]["password"] == MASK


def test_a_query_whose_asker_goes_away_is_given_up(fed: Any, served: str, get: Callable[..., Any]) -> None:
    headers = {"authorization": f"Bearer {fed.credentials['viewer']}"}
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{served}/api/v1/query", params={"query": "hangs"}, headers=headers, timeout=0.5)
    assert get("query", query="up", timeout="10s")[0] == 200


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_works_unchanged(fed: Any, served: str, get: Callable[..., Any], tmp_path: Path) -> None:
    served = served.replace("//", f"//promtool:{fed.credentials['viewer']}@")  # 2.42 knows no other way

    def promtool(*words: str) -> str:
        done = subprocess.run(
            ["promtool", "query", *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "=> 3 @[600]" in promtool("instant", "--time", "600", served, "sum(up)")
    ranged = promtool(
        "range", "--start", "0", "--end", "60", "--step", "30s", "-o", "json", served, "sum(up)"
    )
    assert json.loads(ranged) == [{"metric": {}, "values": [[0, "3"], [30, "3"], [60, "3"]]}]
    assert '__name__="up", i="2"' in promtool(
        "series", "--start", "0", "--end", "600", "--match", "up", served
    )
    assert promtool("labels", "--start", "0", "--end", "600", served, "i").split() == ["0", "1", "2"]


def test_instants_and_durations_are_read_as_prometheus_reads_them() -> None:
    for text, at_ms in {"1.0005": 1000, "-1": -1000, "1970-01-01T01:00:00.5+01:00": 500}.items():
        assert instant_ms(text) == at_ms
    for text in ("", "nan", "inf", "2024-01-01", "2024-13-01T00:00:00Z", "1e999"):
        assert instant_ms(text) is None
    for text, span_ms in {"1d12h": 129_600_000, "1.5": 1500, "5m": 300_000, "1ms": 1}.items():
        assert duration_ms(text) == span_ms
    for text in ("", "5", "m5", "5m5h", "1e400"):
        assert (duration_ms(text) is None) is (text != "5")
