"""Probes as people write them, and what is told of the ones that cannot be."""

from __future__ import annotations

import pytest

from poise.model.service import Probe, ProbeKind
from poise.spec.problems import Problems
from poise.spec.service import parse_project

SERVICE = """
apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec: {command: run, port: 8000}
"""


def declared(spec: str) -> tuple[Probe, ...]:
    text = f"{SERVICE}---\napiVersion: poise.dev/v1\nkind: Probe\nmetadata: {{name: site}}\nspec: {spec}\n"
    return parse_project(text, project="acme").project.probes


def test_a_probe_has_a_target_and_defaults() -> None:
    assert declared("{http: 'https://example.com/'}") == (
        Probe(name="site", kind=ProbeKind.HTTP, target="https://example.com/"),
    )
    (one,) = declared("{dns: example.com, server: '1.1.1.1:53', every: 1m, timeout: 2s}")
    assert (one.kind, one.server, one.every_s, one.timeout_s) == (ProbeKind.DNS, "1.1.1.1:53", 60, 2)
    (one,) = declared("{http: 'http://x/', expectStatus: [200, 401], expectBody: 'ok.*'}")
    assert (one.statuses, one.body) == ((200, 401), "ok.*")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("{every: 5s}", "a probe needs something to look at"),
        ("{http: 'http://x/', tcp: 'x:1'}", "looks in one way"),
        ("{dns: example.com}", "needs the server"),
        ("{tcp: 'x:1', expectStatus: [200]}", "only an HTTP probe has 'expectStatus'"),
        ("{http: 'http://x/', expectBody: '('}", "the expression cannot be read"),
        ("{tcp: nowhere}", "host:port"),
        ("{http: 'http://x/', evry: 5s}", "evry"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(spec: str, told: str) -> None:
    with pytest.raises(Problems) as raised:
        declared(spec)
    text = str(raised.value)
    assert told in text and "poise.yaml:" in text
