"""``ingress.yaml``: how users enter, with every mistake at its place."""

from __future__ import annotations

import pytest

from poise.model.ingress import Ingress, Pair
from poise.spec.ingress import parse_ingress
from poise.spec.problems import Problems

HEAD = "apiVersion: poise.dev/v1\nkind: Ingress\nspec:\n"
PAIR = "{certFile: /tls/a.pem, keyFile: /tls/a.key}"


def test_two_files_and_a_port_are_enough() -> None:
    """Loopback until somebody opens it."""
    found = parse_ingress(f"{HEAD}  https:\n    port: 8443\n    certificates: [{PAIR}]\n")
    pair = Pair(certificate_file="/tls/a.pem", key_file="/tls/a.key")
    assert found == Ingress(address="127.0.0.1", https_port=8443, redirect=False, pairs=(pair,))
    opened = parse_ingress(f"{HEAD}  address: 0.0.0.0\n")
    assert opened == Ingress(address="0.0.0.0")


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("", "POISE-S112", "1:1"),
        ("- a\n", "POISE-S112", "1:1"),
        ("kind: Ingress\nspec: {}\n", "POISE-S111", "1:1"),
        (HEAD + "  https: {port: 8443}\n", "POISE-S111", "4:10"),
        (HEAD + "  https: {port: 8443, certificates: []}\n", "POISE-S113", "4:37"),
        (HEAD + "  https: {port: 0, certificates: [" + PAIR + "]}\n", "POISE-S113", "4:17"),
        (HEAD + "  https: {port: 1, certificates: [{certFile: a.pem, keyFile: /b}]}\n", "POISE-S113", "4:46"),
        (HEAD + f"  https: {{port: 1, certificates: [{PAIR}, {PAIR}]}}\n", "POISE-S118", "4:80"),
        (HEAD + "  adress: 0.0.0.0\n", "POISE-S110", "4:3"),
        (HEAD + "  address: everywhere\n", "POISE-S113", "4:12"),
        (HEAD + "  {}\n---\n" + HEAD + "  {}\n", "POISE-S100", "6:1"),
    ],
)
def test_a_mistake_is_refused_at_its_place(text: str, code: str, place: str) -> None:
    """The file is the operator's own: it says where to look and what to write."""
    with pytest.raises(Problems) as told:
        parse_ingress(text)
    assert [(one.code, one.where) for one in told.value.problems] == [(code, f"ingress.yaml:{place}")]
    assert told.value.problems[0].mend
