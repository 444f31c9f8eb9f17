"""The keys of ``kind: Probe``: a look at something from outside, as users see it."""

from __future__ import annotations

from typing import Final

from poise.spec.keys_text import URL
from poise.spec.shape import Duration, Field, Flag, Integer, ListOf, Record, Text

PLACE: Final = Text(
    pattern=r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}", hint="Write host:port.", max_chars=300
)
_NAME: Final = Text(
    pattern=r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9.])?", hint="A domain name.", max_chars=253
)
PROBE: Final = Record(
    fields=(
        Field("http", URL, "http", "A URL to get; redirects are followed."),
        Field("tcp", PLACE, "tcp", "A host:port to connect to."),
        Field("tls", PLACE, "tls", "A host:port whose certificate is looked at."),
        Field("dns", _NAME, "dns", "A name to ask 'server' for."),
        Field("server", PLACE, "server", "The DNS server, as host:port."),
        Field("every", Duration(low_s=1, high_s=86_400), "every_s", "How often; 30s unless told."),
        Field(
            "timeout", Duration(low_s=0.1, high_s=120), "timeout_s", "The time for one look; 5s unless told."
        ),
        Field(
            "expectStatus",
            ListOf(item=Integer(low=100, high=599), low=1, high=20, unique=True),
            "statuses",
            "Statuses that are success; any 2xx unless told.",
        ),
        Field("expectBody", Text(max_chars=1000), "body", "A regular expression (RE2) the body must match."),
        Field("insecureSkipVerify", Flag(), "insecure", "Whether to believe any certificate."),
    )
)
