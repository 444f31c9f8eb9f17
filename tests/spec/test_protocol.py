"""What an app speaks, as it is declared."""

from __future__ import annotations

import pytest

from poise.model.service import Protocol
from poise.spec.problems import Problems
from poise.spec.service import parse_project

HEAD = "apiVersion: poise.dev/v1\nkind: Service\nmetadata: {name: shop}\nspec:\n  command: run\n"


def protocol(*lines: str) -> Protocol:
    text = HEAD + "".join(f"  {line}\n" for line in lines)
    return parse_project(text, project="acme").services[0].protocol


def test_an_app_speaks_http1_until_it_says_otherwise() -> None:
    """Most do."""
    assert protocol("port: 8080") is Protocol.HTTP
    assert protocol("port: 8080", "protocol: http2") is Protocol.HTTP2
    assert protocol("port: 8080", "protocol: grpc", "health: {failures: 2}") is Protocol.GRPC


@pytest.mark.parametrize(
    ("lines", "code", "place", "told"),
    [
        (("port: 80", "protocol: http3"), "POISE-S113", "7:13", "Did you mean"),
        (("protocol: grpc",), "POISE-S118", "6:3", "'port'"),
        (("port: 80", "protocol: grpc", "health: /healthz"), "POISE-S118", "8:11", "Remove the path"),
        (("port: 80", "appProtocol: kubernetes.io/h2c"), "POISE-S114", "7:3", "protocol: http2"),
    ],
)
def test_a_mistake_is_refused_at_its_place(lines: tuple[str, ...], code: str, place: str, told: str) -> None:
    """A word that has no effect would be found by users."""
    with pytest.raises(Problems) as refused:
        protocol(*lines)
    [one] = refused.value.problems
    assert (one.code, one.where) == (code, f"poise.yaml:{place}") and told in one.mend
