"""Data sources and objectives that count by query: read, or refused at the right place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.model.objective import IndicatorKind, Objective, Queries
from poise.model.service import DataSource
from poise.spec.counter import NotCounted, counter
from poise.spec.problems import Problems
from poise.spec.service import Declared, parse_project

SHOP = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec: {command: x, port: 1}
---
apiVersion: poise.dev/v1
kind: Service
metadata: {name: worker}
spec: {command: x}
---
"""
SOURCE = """\
apiVersion: openslo/v1
kind: DataSource
metadata: {name: metrics}
spec:
  type: Prometheus
  connectionDetails:
    url: https://prometheus.example.org/base
    bearerToken: production/shop/PROM_TOKEN
    tenant: acme
    headers: {X-Team: web}
    timeout: 3s
    staleAfter: 2m
    tls: {caFile: /etc/ca.pem}
---
"""
SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: orders}
spec:
  service: shop
  indicator:
    spec:
      ratioMetric:
        bad:
          metricSource:
            metricSourceRef: metrics
            spec: {query: 'sum(rate(orders_total{state="failed"}[5m]))'}
        total:
          metricSource: {type: Prometheus, spec: {query: orders_total}}
  objectives: [{target: 0.99}]
"""


def parsed(text: str) -> Declared:
    return parse_project(SHOP + text, project="acme")


def orders(text: str) -> Objective:
    return next(one for one in parsed(text).objectives if one.name == "orders")


def refused(text: str) -> list[tuple[str, str]]:
    """Codes and places, lines counted from the first after the services."""
    with pytest.raises(Problems) as caught:
        parsed(text)
    made = [(one.code, *one.where.split(":")[1:]) for one in caught.value.problems]
    return [(code, f"{int(line) - SHOP.count(chr(10))}:{column}") for code, line, column in made]


def test_a_data_source_is_read_and_holds_no_secret() -> None:
    """Only the secret's name stands in the file and on record."""
    (source,) = parsed(SOURCE).project.sources
    assert source == DataSource(
        name="metrics",
        url="https://prometheus.example.org/base",
        bearer="production/shop/PROM_TOKEN",
        tenant="acme",
        headers={"X-Team": "web"},
        ca_file="/etc/ca.pem",
        timeout_s=3.0,
        stale_after_s=120.0,
    )


def test_a_project_may_name_its_server_in_one_line() -> None:
    """The short form, for those who have one Prometheus."""
    text = (
        "apiVersion: poise.dev/v1\nkind: Project\nmetadata: {name: acme}\n"
        "spec: {prometheus: {url: 'http://localhost:9090', basicAuth: {username: u, "
        "password: production/shop/PW}}}\n---\n"
    )
    (source,) = parsed(text).project.sources
    assert (source.name, source.username, source.password) == ("prometheus", "u", "production/shop/PW")
    found = orders(text + SLO.replace("metricSourceRef: metrics", "type: Prometheus"))
    assert found.queries is not None and found.queries.source == "prometheus"


def test_a_ratio_of_queries_is_an_objective_of_plain_selectors() -> None:
    """A rate around a counter counts the same events as the counter."""
    found = orders(SOURCE + SLO)
    assert found.indicator is IndicatorKind.QUERY
    assert found.queries == Queries(
        source="metrics", bad='orders_total{state="failed"}', total="orders_total"
    )


def test_a_service_without_a_port_may_count_by_query() -> None:
    """Workers and jobs have objectives too."""
    assert orders(SOURCE + SLO.replace("service: shop", "service: worker")).service.endswith("worker")


def test_the_embedded_store_is_asked_by_type_poise() -> None:
    """What Poise scrapes itself."""
    text = SLO.replace("metricSourceRef: metrics", "type: poise").replace("Prometheus", "poise")
    found = orders(text)
    assert found.queries is not None and found.queries.source == ""


def test_templates_of_other_tools_are_read() -> None:
    """Sloth writes its window so."""
    found = orders(SOURCE + SLO.replace("[5m]", "[{{.window}}]"))
    assert found.queries is not None and found.queries.bad == 'orders_total{state="failed"}'


BAD = [
    (SOURCE.replace("url: https://prometheus.example.org/base", "url: prometheus"), "POISE-S113", "7:10"),
    (SOURCE.replace("production/shop/PROM_TOKEN", "s3cr3t-t0ken"), "POISE-S113", "8:18"),
    (SOURCE.replace("type: Prometheus", "type: Datadog"), "POISE-S113", "5:9"),
    (SOURCE.replace("caFile: /etc/ca.pem", "caFile: ca.pem"), "POISE-S113", "13:19"),
    (SOURCE.replace("caFile: /etc/ca.pem", "certFile: /etc/c.pem"), "POISE-S118", "13:21"),
    (SOURCE.replace("tenant: acme", "basicAuth: {username: u, password: a/b/C}"), "POISE-S118", "9:5"),
    (SOURCE.replace("    url: https://prometheus.example.org/base\n", ""), "POISE-S111", "7:5"),
    (SOURCE + SOURCE, "POISE-S117", "17:18"),
    (SLO.replace("metricSourceRef: metrics", "type: Prometheus"), "POISE-S115", "11:19"),
]


@pytest.mark.parametrize(("text", "code", "place"), BAD)
def test_a_source_that_cannot_be_asked_is_refused_at_its_place(text: str, code: str, place: str) -> None:
    """Before anything is applied."""
    assert (code, place) in refused(text)


BAD_SLO = [
    (SLO.replace("metricSourceRef: metrics", "metricSourceRef: metric"), "POISE-S115", "25:30"),
    (SLO.replace("orders_total}}", "avg(orders_total)}}"), "POISE-S130", "28:58"),
    (SLO.replace('{state="failed"}[5m]))', "{state=failed}[5m]))"), "POISE-S130", "26:56"),
    (SLO.replace("[5m]))", "[5m])) / 2"), "POISE-S130", "26:72"),
    (SLO.replace("{query: orders_total}", "{counter: requests}"), "POISE-S118", "28:60"),
    (SLO.replace("        bad:", "        good:").replace("total:", "raw:"), "POISE-S118", "27:9"),
    (SLO.replace("{query: orders_total}", "{query: orders_total, counter: requests}"), "POISE-S118", "28:58"),
]


@pytest.mark.parametrize(("text", "code", "place"), BAD_SLO)
def test_a_query_that_cannot_be_counted_is_refused_at_its_character(text: str, code: str, place: str) -> None:
    """The person who pushes sees where to look."""
    assert refused(SOURCE + text)[0] == (code, place)


def test_a_query_in_a_block_is_placed_on_its_line() -> None:
    """Long selectors are written as blocks."""
    block = "spec:\n              query: |\n                sum(\n                orders_total offset 5m)\n"
    text = SLO.replace("spec: {query: 'sum(rate(orders_total{state=\"failed\"}[5m]))'}\n", block)
    (code, place), *_ = refused(SOURCE + text)
    assert code == "POISE-S130" and place == "29:1"


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("x", "x"),
        ("sum(x)", "x"),
        ('sum by (a, b) (increase(x{a="b"}[1h]))', 'x{a="b"}'),
        ("sum(rate(x[5m])) by (job)", "x"),
        ('  x { a = "}" }  # note', 'x { a = "}" }'),
        ('{__name__="a:b", c!~"d"}', '{__name__="a:b", c!~"d"}'),
        ("((x))", "x"),
    ],
)
def test_what_stands_around_a_counter_is_taken_off(text: str, selector: str) -> None:
    """Sums and rates; the events are the same."""
    assert counter(text).text == selector


@pytest.mark.parametrize(
    "text",
    ["", "{}", "1", "x + y", "x offset 5m", "x @ 0", "max(x)", "x[5m]", "rate(x)", "(x", "x{a=b}", "sum"],
)
def test_what_has_lost_its_series_is_refused(text: str) -> None:
    """The fall of a sum may be one restart of many: it would be counted as all of them."""
    with pytest.raises(NotCounted):
        counter(text)


def test_some_of_the_series_are_told_from_others() -> None:
    """No failed order yet is known to be none only where failed orders are some of all orders."""
    total = counter('x{job="a"}')
    assert counter('x{code=~"5..", job="a"}').is_within(total)
    assert not counter('x{code=~"5.."}').is_within(total)
    assert not counter('y{job="a"}').is_within(total)
    assert counter('{__name__="x",job="a"}').is_within(total)


@given(st.text(alphabet='sumrate(){}[]"=~!,.x_5mby \n\\', max_size=40))
def test_any_text_is_a_counter_or_refused_within_it(text: str) -> None:
    """No crash, and a place that exists."""
    try:
        assert counter(text).text in text
    except NotCounted as error:
        assert 0 <= error.offset <= len(text)
