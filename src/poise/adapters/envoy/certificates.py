"""Reading a certificate and its key, and saying what is wrong with them before Envoy sees them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from msgspec import Struct

from poise.model.errors import Invalid
from poise.model.ingress import Pair

FILE_BYTES: Final = 1 << 20
RSA_BITS: Final = 2048  # Envoy refuses shorter ones
CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")


class Proof(Struct, frozen=True, kw_only=True):
    """A certificate that fits its key and is in force: PEM texts, the hosts it is for, until when."""

    chain: str
    key: str
    hosts: tuple[str, ...]
    begins_at: datetime
    expires_at: datetime


def name_of(pair: Pair) -> str:
    """A pair's name, the same for the same files."""
    return sha256(f"{pair.certificate_file}\n{pair.key_file}".encode()).hexdigest()[:16]


def read(pair: Pair, now: datetime) -> Proof:
    """The pair as it is on disk. Raises ``Invalid`` with the file, what is wrong and what mends it."""
    chain, key = _text(pair.certificate_file), _text(pair.key_file)
    leaf = _leaf(chain, pair.certificate_file)
    _fit(leaf, key, pair)
    begins_at, expires_at = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if expires_at <= now:
        raise _invalid(
            "POISE-F314", pair.certificate_file, f"the certificate expired on {_day(expires_at)}",
            "Renew it; the file is read again as soon as it changes.",
        )  # fmt: skip
    if begins_at > now:
        raise _invalid(
            "POISE-F315", pair.certificate_file, f"the certificate holds from {_day(begins_at)} on",
            "Wait, or set the machine's clock right: timedatectl",
        )  # fmt: skip
    hosts = _hosts(leaf, pair)
    return Proof(chain=chain, key=key, hosts=hosts, begins_at=begins_at, expires_at=expires_at)


def _text(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(FILE_BYTES).decode()
    except OSError as error:
        raise _invalid(
            "POISE-F310", path, f"the file cannot be read: {error.strerror}",
            f"Name one that is there, or let Poise's user read it: sudo setfacl -m u:$(id -un):r {path}",
        ) from error  # fmt: skip
    except UnicodeDecodeError as error:
        raise _invalid(
            "POISE-F311", path, "the file is not PEM", f"openssl x509 -inform der -in {path} -out {path}.pem"
        ) from error


def _leaf(chain: str, path: str) -> x509.Certificate:
    try:
        found: Sequence[x509.Certificate] = x509.load_pem_x509_certificates(chain.encode())
        return found[0]
    except (ValueError, IndexError) as error:
        raise _invalid(
            "POISE-F311", path, "the file holds no certificate in PEM",
            f"It starts with -----BEGIN CERTIFICATE-----. Look: openssl x509 -noout -subject -in {path}",
        ) from error  # fmt: skip


def _fit(leaf: x509.Certificate, key: str, pair: Pair) -> None:
    try:
        private = load_pem_private_key(key.encode(), None)
    except TypeError as error:
        raise _invalid(
            "POISE-F312",
            pair.key_file,
            "the key is encrypted",
            f"openssl pkey -in {pair.key_file} -out PLAIN.pem",
        ) from error
    except Exception as error:  # the library's own tree is wide, and what it says differs by version
        raise _invalid(
            "POISE-F312", pair.key_file, "the file holds no private key in PEM",
            f"It starts with -----BEGIN PRIVATE KEY-----. Look: openssl pkey -noout -in {pair.key_file}",
        ) from error  # fmt: skip
    public = private.public_key()
    whole = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*whole) != leaf.public_key().public_bytes(*whole):
        raise _invalid(
            "POISE-F313", pair.key_file, f"the key is not that of {pair.certificate_file}",
            "Name the key that it was made with; in the file the server's own certificate comes first.",
        )  # fmt: skip
    strong = isinstance(public, rsa.RSAPublicKey) and public.key_size >= RSA_BITS
    if not strong and not (isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in CURVES):
        raise _invalid(
            "POISE-F316", pair.key_file, "Envoy takes no such key",
            f"Use RSA of {RSA_BITS} bits or more, or P-256: openssl ecparam -name prime256v1 -genkey -noout",
        )  # fmt: skip


def _hosts(leaf: x509.Certificate, pair: Pair) -> tuple[str, ...]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = tuple(dict.fromkeys(name.lower() for name in names.get_values_for_type(x509.DNSName)))
    except x509.ExtensionNotFound:
        hosts = ()
    if not hosts:
        raise _invalid(
            "POISE-F317", pair.certificate_file, "the certificate is for no host (it has no subjectAltName)",
            "Have one made with the host names; clients do not read the common name any more.",
        )  # fmt: skip
    return hosts


def _day(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")


def _invalid(code: str, where: str, what: str, mend: str) -> Invalid:
    return Invalid(code, what, where=where, mend=mend)
