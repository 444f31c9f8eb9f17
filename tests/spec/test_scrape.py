"""Scraping as people declare it: a prometheus.yml as it is, or a document of its own, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poise.model.scrape import (
    Access,
    FileDiscovery,
    HttpDiscovery,
    Relabel,
    RelabelAction,
    ScrapeConfig,
    TargetGroup,
)
from poise.spec.problems import Problems
from poise.spec.schema import json_schema
from poise.spec.scrape import scrape_words
from poise.spec.service import Declared, parse_project

SERVICE = """
apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec: {command: run, port: 8000}
"""
PROJECT = f"""{SERVICE}---
apiVersion: poise.dev/v1
kind: Project
metadata: {{name: acme}}
spec: {{scrapeConfigs: [monitoring/prometheus.yml]}}
"""
PROMETHEUS = """
global:
  scrape_interval: 1m
  scrape_timeout: 20s
  evaluation_interval: 1m
  external_labels: {cluster: eu}
scrape_configs:
  - job_name: node
    static_configs:
      - targets: ['node1:9100', 'node2:9100']
        labels: {rack: 7}
  - job_name: "everything else"
    scrape_interval: 15s
    honor_labels: true
    honor_timestamps: false
    scheme: https
    metrics_path: /probe
    params: {module: [http_2xx]}
    sample_limit: 5000
    body_size_limit: 10MB
    basic_auth: {username: scraper, password: production/web/SCRAPE}
    tls_config: {ca_file: /etc/ca.pem, insecure_skip_verify: true}
    http_sd_configs:
      - url: http://127.0.0.1:9/targets
        refresh_interval: 1m30s
        authorization: {credentials: production/web/SD}
    file_sd_configs:
      - files: ['/etc/targets/*.json']
    relabel_configs:
      - source_labels: [__address__]
        regex: (.*):\\d+
        target_label: host
      - {action: drop, source_labels: [host], regex: old.*}
    metric_relabel_configs:
      - {action: labeldrop, regex: pod_.*}
alerting: {alertmanagers: []}
rule_files: [rules.yml]
"""


def declared(prometheus: str, text: str = PROJECT, **files: str) -> Declared:
    there = {
        "monitoring/prometheus.yml": prometheus,
        **{name.replace("__", "/"): one for name, one in files.items()},
    }
    return parse_project(text, project="acme", file=there.get)


def told(prometheus: str, text: str = PROJECT) -> list[str]:
    with pytest.raises(Problems) as refused:
        declared(prometheus, text)
    return [f"{one.where} {one.code} {one.what} {one.mend}" for one in refused.value.problems]


def job(text: str) -> str:
    return f"scrape_configs:\n  - job_name: a\n    static_configs: [{{targets: ['a:1']}}]\n    {text}\n"


def test_a_prometheus_configuration_is_read_as_it_is() -> None:
    """The file that people have is the file that they name: nothing is written twice."""
    node, rest = declared(PROMETHEUS).project.scrapes
    assert node == ScrapeConfig(
        name="node",
        job="node",
        static=(TargetGroup(targets=("node1:9100", "node2:9100"), labels={"rack": "7"}),),
        every_s=60.0,
        timeout_s=20.0,
    )
    assert rest == ScrapeConfig(
        name="everything else",
        job="everything else",
        every_s=15.0,
        timeout_s=15.0,  # the global one is longer than its interval
        honor_labels=True,
        honor_timestamps=False,
        scheme="https",
        path="/probe",
        params={"module": ("http_2xx",)},
        sample_limit=5000,
        body_bytes=10 * 1024**2,
        access=Access(
            username="scraper",
            password="production/web/SCRAPE",
            ca_file="/etc/ca.pem",
            insecure_skip_verify=True,
        ),
        http=(
            HttpDiscovery(
                url="http://127.0.0.1:9/targets", refresh_s=90.0, access=Access(bearer="production/web/SD")
            ),
        ),
        files=(FileDiscovery(files=("/etc/targets/*.json",), refresh_s=300.0),),
        relabel=(
            Relabel(source_labels=("__address__",), regex=r"(.*):\d+", target_label="host"),
            Relabel(action=RelabelAction.DROP, source_labels=("host",), regex="old.*"),
        ),
        metric_relabel=(Relabel(action=RelabelAction.LABEL_DROP, regex="pod_.*"),),
    )


def test_sections_of_a_server_are_let_stand_with_a_note() -> None:
    """Alerting and rules of the same file are no reason to refuse it, and not to be ignored in silence."""
    alerting, rules = declared(PROMETHEUS).notes
    assert alerting.startswith("monitoring/prometheus.yml:36:1 'alerting' has no effect here")
    assert rules.startswith("monitoring/prometheus.yml:37:1 'rule_files'")


def test_a_document_of_its_own_has_the_same_words_and_services() -> None:
    own = "---\napiVersion: poise.dev/v1\nkind: ScrapeConfig\nmetadata: {name: shop}\n"
    found = declared(
        "", f"{SERVICE}{own}spec: {{services: [web], metrics_path: /stats, scrape_interval: 5s}}\n"
    )
    assert found.project.scrapes == (
        ScrapeConfig(name="shop", job="shop", services=("web",), path="/stats", every_s=5.0, timeout_s=5.0),
    )
    assert "no service 'wob'" in told("", f"{SERVICE}{own}spec: {{services: [wob]}}\n")[0]
    assert "has no targets" in told("", f"{SERVICE}{own}spec: {{scheme: http}}\n")[0]


def test_target_files_of_the_repository_are_read_on_push() -> None:
    text = "scrape_configs:\n  - job_name: a\n    file_sd_configs: [{files: [sd/a.json, sd/b.yml]}]\n"
    found = declared(
        text, sd__a_json="", **{"sd/a.json": '[{"targets": ["x:1"]}]', "sd/b.yml": "- targets: ['y:2']\n"}
    )
    assert found.project.scrapes[0].static == (
        TargetGroup(targets=("x:1",), labels={"__meta_filepath": "sd/a.json"}),
        TargetGroup(targets=("y:2",), labels={"__meta_filepath": "sd/b.yml"}),
    )
    assert "no file 'sd/a.json'" in told(text)[0]


def test_without_files_none_is_opened() -> None:
    """A plan of a run needs the services alone."""
    assert parse_project(PROJECT, project="acme").project.scrapes == ()


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("kubernetes_sd_configs: [{role: pod}]", "4:5 POISE-S114", "services: [shop]"),
        ("oauth2: {}", "4:5 POISE-S114", "named secret"),
        ("scrape_intervall: 5s", "4:5 POISE-S110", "Did you mean 'scrape_interval'?"),
        ("basic_auth: {username: u, password: hunter2}", "4:41 POISE-S113", "what stands here"),
        ("authorization: {credentials_file: /etc/token}", "4:21 POISE-S114", "poise secret set"),
        ("scrape_interval: 5", "4:22 POISE-S112", "Quote it"),
        ("scrape_interval: 1s1m", "4:22 POISE-S113", "at least 1s"),
        ("scrape_timeout: 30s", "4:21 POISE-S118", "longer than the interval"),
        ("relabel_configs: [{regex: '(', target_label: x}]", "4:31 POISE-S130", "cannot be read"),
        ("relabel_configs: [{action: hashmod, target_label: x}]", "4:23 POISE-S111", "modulus"),
        ("relabel_configs: [{action: replace}]", "4:23 POISE-S111", "target_label"),
        ("http_sd_configs: [{}]", "4:23 POISE-S111", "url"),
        ("file_sd_configs: [{}]", "4:23 POISE-S111", "files"),
        ("static_configs: []", "4:5 POISE-S102", "static_configs"),
        ("tls_config: {cert_file: /a.pem}", "4:29 POISE-S118", "key_file"),
        ("track_timestamps_staleness: true", "4:33 POISE-S114", "false"),
    ],
)
def test_what_is_not_done_is_refused_at_its_place(text: str, where: str, what: str) -> None:
    (one,) = told(job(text))
    assert one.startswith(f"monitoring/prometheus.yml:{where}")
    assert what in one
    assert "hunter2" not in one  # a secret written by mistake is told to nobody


def test_files_that_cannot_be_read_are_told_of() -> None:
    assert "POISE-S101" in told("scrape_configs: [")[0]
    twice = "scrape_configs:\n" + "  - {job_name: a, static_configs: []}\n" * 2
    assert "the job 'a' is declared twice" in told(twice)[0]
    with pytest.raises(Problems, match=r"no file 'monitoring/prometheus\.yml' in the repository"):
        parse_project(PROJECT, project="acme", file={}.get)


def test_editors_know_the_words() -> None:
    kinds = json_schema()["oneOf"]
    assert isinstance(kinds, list)
    (own,) = [one for one in kinds if one["title"] == "ScrapeConfig"]
    assert {"services", "static_configs", "relabel_configs"} <= own["properties"]["spec"]["properties"].keys()


def test_the_settings_in_force_are_told_in_the_words_of_the_file() -> None:
    node = declared(PROMETHEUS).project.scrapes[0]
    rows = {word: (value, source) for word, value, source in scrape_words(node)}
    assert rows["scrape_interval"] == ("1m", "declared")
    assert rows["metrics_path"] == ("/metrics", "default")
    assert rows["static_configs"] == ("targets=node1:9100; node2:9100, labels=rack=7", "declared")


def test_an_unknown_way_to_find_targets_is_told_of_once() -> None:
    (one,) = told("scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod}]}]")
    assert "POISE-S114" in one


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(PROMETHEUS) - 1), st.text(max_size=3), st.integers(0, 40))
def test_any_configuration_is_read_or_refused_at_a_place(at: int, put: str, cut: int) -> None:
    """What people write wrong must never be a stack trace on push."""
    text = PROMETHEUS[:at] + put + PROMETHEUS[at + cut :]
    try:
        assert declared(text).project.name == "acme"
    except Problems as refused:
        assert all(":" in one.where and one.code.startswith("POISE-S") for one in refused.problems)
