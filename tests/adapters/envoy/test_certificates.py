"""What is said of a certificate and its key before Envoy sees them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from poise.adapters.envoy import certificates
from poise.model.errors import Invalid
from poise.model.ingress import Pair

from .authority import NOW, Authority, write_key

AUTHORITY = Authority()


def test_a_pair_that_fits_is_read_with_its_hosts_and_its_end(tmp_path: Path) -> None:
    """The chain is given on whole: clients need what vouches for it."""
    pair, _ = AUTHORITY.issue(tmp_path, "Shop.example.com", "*.example.org")
    proof = certificates.read(pair, NOW)
    assert proof.hosts == ("shop.example.com", "*.example.org")
    assert proof.chain.count("BEGIN CERTIFICATE") == 2
    assert abs(proof.expires_at - NOW - timedelta(days=90)) < timedelta(seconds=2)


def other_key(folder: Path, pair: Pair) -> None:
    write_key(Path(pair.key_file), ec.generate_private_key(ec.SECP256R1()))


def encrypted(folder: Path, pair: Pair) -> None:
    write_key(Path(pair.key_file), ec.generate_private_key(ec.SECP256R1()), b"secret")


def wrong_way_round(folder: Path, pair: Pair) -> None:
    """The authority's certificate first, as in a chain sorted by hand."""
    path = Path(pair.certificate_file)
    first, second = [
        part + "-----END CERTIFICATE-----\n"
        for part in path.read_text().split("-----END CERTIFICATE-----\n")[:2]
    ]
    path.write_text(second + first)


BROKEN: dict[str, tuple[Callable[[Path, Pair], object], str, str]] = {
    "no file": (lambda _, pair: Path(pair.certificate_file).unlink(), "POISE-F310", "crt"),
    "a folder": (
        lambda _, pair: (Path(pair.key_file).unlink(), Path(pair.key_file).mkdir()),
        "POISE-F310",
        "key",
    ),
    "no certificate": (lambda _, pair: Path(pair.certificate_file).write_text("hello"), "POISE-F311", "crt"),
    "half a certificate": (
        lambda _, pair: Path(pair.certificate_file).write_text(Path(pair.certificate_file).read_text()[:200]),
        "POISE-F311",
        "crt",
    ),
    "DER": (lambda _, pair: Path(pair.certificate_file).write_bytes(b"0\x82\xff\xfe"), "POISE-F311", "crt"),
    "no key": (lambda _, pair: Path(pair.key_file).write_text("hello"), "POISE-F312", "key"),
    "an encrypted key": (encrypted, "POISE-F312", "key"),
    "the key of another": (other_key, "POISE-F313", "key"),
    "the chain wrong way round": (wrong_way_round, "POISE-F313", "key"),
    "expired": (
        lambda folder, _: AUTHORITY.issue(folder, "a.b", ends=timedelta(hours=-1)),
        "POISE-F314",
        "crt",
    ),
    "not yet": (
        lambda folder, _: AUTHORITY.issue(folder, "a.b", begins=timedelta(hours=1)),
        "POISE-F315",
        "crt",
    ),
    "for no host": (lambda folder, _: AUTHORITY.issue(folder), "POISE-F317", "crt"),
    "another curve": (
        lambda folder, _: AUTHORITY.issue(folder, "a.b", key=ec.generate_private_key(ec.SECP256K1())),
        "POISE-F316",
        "key",
    ),
    "Ed25519": (
        lambda folder, _: AUTHORITY.issue(folder, "a.b", key=ed25519.Ed25519PrivateKey.generate()),  # type: ignore[arg-type]
        "POISE-F316",
        "key",
    ),
    "short RSA": (
        lambda folder, _: AUTHORITY.issue(folder, "a.b", key=rsa.generate_private_key(65537, 1024)),  # type: ignore[arg-type]
        "POISE-F316",
        "key",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_cannot_serve_is_told_with_its_file_and_a_mend(tmp_path: Path, broken: str) -> None:
    """Envoy would say so in its log, or serve a certificate that every browser refuses."""
    pair, _ = AUTHORITY.issue(tmp_path, "shop.example.com")
    act, code, ending = BROKEN[broken]
    act(tmp_path, pair)
    with pytest.raises(Invalid) as told:
        certificates.read(pair, NOW)
    assert told.value.code == code and told.value.where.endswith(ending) and told.value.mend
    assert "PRIVATE KEY-----\n" not in str(told.value)
