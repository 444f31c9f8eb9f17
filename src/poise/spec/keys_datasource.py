"""The keys of ``kind: DataSource`` (OpenSLO v1) and of ``prometheus:`` in ``kind: Project``.

A secret never stands in the file: it is named as ``environment/service/NAME``.
"""

from __future__ import annotations

from typing import Final

from poise.spec import limits
from poise.spec.keys_text import URL
from poise.spec.shape import Choice, Duration, Field, Flag, MapOf, Record, Text

SECRET: Final = Text(
    pattern=r"[a-z][a-z0-9-]*/[a-z][a-z0-9-]*/[A-Za-z_][A-Za-z0-9_]*",
    hint="Name a secret as environment/service/NAME; set it with: poise secret set SERVICE NAME.",
    max_chars=300,
    private=True,
)
FILE: Final = Text(pattern=r"/[^\x00-\x1f]+", hint="A file is named from '/'.", max_chars=1000)
_HEADER: Final = Text(
    pattern=r"[A-Za-z0-9-]+", hint="A header has letters, digits and hyphens.", max_chars=100
)
BASIC: Final = Record(
    fields=(
        Field(
            "username", Text(pattern=r"[^:\x00-\x1f]+", max_chars=200), "username", "The user.", required=True
        ),
        Field("password", SECRET, "password", "The secret with the password.", required=True),
    )
)
TLS: Final = Record(
    fields=(
        Field("caFile", FILE, "ca_file", "The authority that signed the server's certificate (PEM)."),
        Field("certFile", FILE, "certificate_file", "Our certificate (PEM)."),
        Field("keyFile", FILE, "key_file", "Its key (PEM)."),
        Field("insecureSkipVerify", Flag(), "insecure_skip_verify", "Whether to believe any certificate."),
    )
)
CONNECTION: Final = Record(
    fields=(
        Field("url", URL, "url", "Where Prometheus' HTTP API is, without /api/v1.", required=True),
        Field("bearerToken", SECRET, "bearer", "The secret with the token."),
        Field("basicAuth", BASIC, "", "A user and the secret with the password."),
        Field("tenant", Text(pattern=r"[!-~]+", max_chars=150), "tenant", "Sent as X-Scope-OrgID."),
        Field(
            "headers",
            MapOf(name=_HEADER, value=Text(pattern=r"[ -~]*", max_chars=1000), high=limits.HEADERS),
            "headers",
            "Sent with every question; nothing secret.",
        ),
        Field("tls", TLS, "", "How the server proves itself, and we to it."),
        Field("timeout", Duration(low_s=0.1, high_s=120), "timeout_s", "The time for one answer."),
        Field("staleAfter", Duration(low_s=1, high_s=3600), "stale_after_s", "Older samples are unknown."),
    )
)
DATA_SOURCE: Final = Record(
    fields=(
        Field("description", Text(), "_about", "A note for people."),
        Field("type", Choice(words=("Prometheus", "prometheus")), "_type", "What it speaks.", required=True),
        Field("connectionDetails", CONNECTION, "", "Where it is and who asks.", required=True),
    )
)
