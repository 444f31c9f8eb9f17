"""Where users enter, and the certificates with which the ingress proves what it is."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

WARN_BEFORE = timedelta(days=14)
URGENT_BEFORE = timedelta(days=3)
WARN_SHARE, URGENT_SHARE = 1 / 6, 1 / 30  # of its life: those of six days are renewed every four
"""Renewals begin when a third of a certificate's life is left; half of that third later they have failed.

Source: Let's Encrypt, integration guide, "When to renew".
"""


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

    ``hosts`` and the instants are of the one that serves; None: none does. ``problem`` says why the files
    as they are now cannot be used, "" when they serve.
    """

    name: str
    file: str
    hosts: tuple[str, ...] = ()
    begins_at: datetime | None = None
    expires_at: datetime | None = None
    problem: str = ""

    @property
    def key(self) -> str:
        """Its name."""
        return self.name


def warn_at(begins_at: datetime, expires_at: datetime) -> datetime:
    """From when on a certificate should have been renewed."""
    return expires_at - min(WARN_BEFORE, (expires_at - begins_at) * WARN_SHARE)


def urgent_at(begins_at: datetime, expires_at: datetime) -> datetime:
    """From when on somebody has to renew it now."""
    return expires_at - min(URGENT_BEFORE, (expires_at - begins_at) * URGENT_SHARE)


def is_for(hosts: tuple[str, ...], host: str) -> bool:
    """Whether a certificate with these names is one of ``host``. Source: RFC 9525, section 6.3.

    >>> is_for(("shop.example.com", "*.example.org"), "a.example.org")
    True
    >>> is_for(("*.example.org",), "a.b.example.org")
    False
    """
    return host in hosts or f"*.{host.partition('.')[2]}" in hosts
