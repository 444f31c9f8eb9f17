"""The pages of traces and log records over a real house: what was sent is shown, and shown as text."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
Get = Callable[..., str]


@pytest.fixture
def client(house: Any) -> Any:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def get(house: Any, client: Client, headers: Headers) -> Get:
    """A page as a viewer of a house that was sent something."""
    house.send_telemetry(client)

    def ask(path: str, status: int = 200) -> str:
        answer = client.get(path, headers=headers("viewer") | {"accept": "text/html"})
        assert answer.status_code == status, answer.text
        assert house.evil not in answer.text
        return answer.text

    return ask


def test_the_list_says_what_matters_first(house: Any, get: Get) -> None:
    """How many, how many failed, the slowest; each leads to its page."""
    page = get("/traces")
    assert "3 traces in the last hour, 1 of them with errors; the slowest took 1 s." in page
    assert f'href="/traces/{house.trace_id}"' in page
    assert "1 trace in the last hour" in get("/traces?service=stock")
    assert "No trace in the last 15 minutes." in get("/traces?service=nobody&since=15m")
    assert "is no time" in get("/traces?since=soon")


def test_a_trace_has_its_waterfall_its_table_and_its_records(house: Any, get: Get) -> None:
    """The failed span is chosen by itself; what others sent stays text."""
    page = get(f"/traces/{house.trace_id}")
    assert "GET /cart of shop took 1 s, 1 of its 2 spans failed" in page
    assert page.count('class="span') == 2
    assert "The same as a table" in page
    assert escape(f"no 7 {house.evil}", quote=True).replace("&quot;", "&#34;") in page
    assert f'<section id="span"><h2>{escape(house.evil, quote=True).replace("&quot;", "&#34;")}' in page
    assert "<h2>GET /cart</h2>" in get(f"/traces/{house.trace_id}?span={'1' * 16}")
    get(f"/traces/{'e' * 32}", 404)


def test_log_records_are_searched_on_their_page(house: Any, get: Get) -> None:
    """And lead to their trace and to those like them."""
    page = get("/records")
    assert "2 log records in the last hour, 1 error among them." in page
    assert f'href="/traces/{house.trace_id}"' in page
    assert "template=" in page
    assert "1 log record in the last hour, no error among them." in get("/records?text=cart")
    assert "No log record" in get("/records?severity=fatal")
    assert "is no severity" in get("/records?severity=loud")


def test_a_service_leads_to_its_traces(get: Get) -> None:
    """From the graph to a request that shows the trouble, in one step."""
    page = get("/services/shop/production/web")
    assert 'href="/traces?service=web"' in page
    assert 'href="/records?service=web"' in page
