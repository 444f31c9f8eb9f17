"""A certificate authority for tests, made in memory."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from poise.model.ingress import Pair

NOW = datetime.now(UTC)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """Signs certificates; ``context`` trusts it alone."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = named("an authority for tests")
        key_id = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        self.certificate = (
            x509.CertificateBuilder(self.name, self.name, self.key.public_key(), 1)
            .not_valid_before(NOW - timedelta(days=400))
            .not_valid_after(NOW + timedelta(days=400))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(key_id, critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def context(self, *alpn: str) -> ssl.SSLContext:
        made = ssl.create_default_context(
            cadata=self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        )
        if alpn:
            made.set_alpn_protocols(list(alpn))
        return made

    def issue(
        self,
        folder: Path,
        *hosts: str,
        stem: str = "tls",
        begins: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=90),
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> tuple[Pair, int]:
        """Write ``stem``.crt and ``stem``.key; the pair and the serial number."""
        own = key or ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        builder = (
            x509.CertificateBuilder(self.name, named(stem), own.public_key(), serial)
            .not_valid_before(NOW + begins)
            .not_valid_after(NOW + ends)
        )
        if hosts:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        made = builder.sign(self.key, hashes.SHA256())
        pair = Pair(certificate_file=str(folder / f"{stem}.crt"), key_file=str(folder / f"{stem}.key"))
        pem = serialization.Encoding.PEM
        Path(pair.certificate_file).write_bytes(made.public_bytes(pem) + self.certificate.public_bytes(pem))
        write_key(Path(pair.key_file), own)
        return pair, serial


def write_key(path: Path, key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> None:
    seal = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, seal))
