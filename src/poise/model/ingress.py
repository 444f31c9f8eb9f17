"""Where users enter, and the certificates with which the ingress proves what it is."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

RENEW_BEFORE = timedelta(days=14)  # Let's Encrypt renews 30 days before the end: by then that has failed
URGENT_BEFORE = timedelta(days=3)


class Pair(Struct, frozen=True, kw_only=True):
    """A certificate with what vouches for it, and its key: two PEM files of the machine."""

    certificate_file: str
    key_file: str


class Ingress(Struct, frozen=True, kw_only=True):
    """The installation's ``ingress.yaml``; without ``https_port`` users enter without TLS alone."""

    address: str = "127.0.0.1"
    https_port: int | None = None
    redirect: bool = False
    pairs: tuple[Pair, ...] = ()


class Certificate(Struct, frozen=True, kw_only=True):
    """A certificate of the ingress; key: a hash of its files' names. Written by the ingress.

    ``hosts`` and ``expires_at`` are of the one that serves; None: none does. ``problem`` says why the files
    as they are now cannot be used, "" when they serve.
    """

    name: str
    file: str
    hosts: tuple[str, ...] = ()
    expires_at: datetime | None = None
    problem: str = ""

    @property
    def key(self) -> str:
        """Its name."""
        return self.name


def is_for(hosts: tuple[str, ...], host: str) -> bool:
    """Whether a certificate with these names is one of ``host``. Source: RFC 9525, section 6.3.

    >>> is_for(("shop.example.com", "*.example.org"), "a.example.org")
    True
    >>> is_for(("*.example.org",), "a.b.example.org")
    False
    """
    return host in hosts or f"*.{host.partition('.')[2]}" in hosts
