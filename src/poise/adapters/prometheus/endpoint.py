"""One remote server: where it is, how it is told who asks, and how patiently."""

from __future__ import annotations

import ssl
from base64 import b64encode
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from poise.model.errors import Invalid

TIMEOUT_S: Final = 10.0
BODY_BYTES: Final = 64 * 2**20
TRIES: Final = 4
BACKOFF_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0
SELECT_WINDOW_S: Final = 3600.0
SELECT_BEFORE_S: Final = 300.0
_NEVER_ASKED: Final = ("169.254.", "[fe80:", "metadata.google.internal")  # a cloud's own secrets live there


class Endpoint(Struct, frozen=True, kw_only=True):
    """A server and everything needed to ask it; secrets are in plain and never shown.

    ``timeout_s`` bounds one question with all its retries. ``tenant`` becomes X-Scope-OrgID (Mimir). Without
    ``write_url`` nothing is appended. ``select_window_s`` bounds raw samples.
    """

    url: str
    name: str = ""
    bearer: str = ""
    username: str = ""
    password: str = ""
    tenant: str = ""
    headers: dict[str, str] = {}
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False
    timeout_s: float = TIMEOUT_S
    body_bytes: int = BODY_BYTES
    tries: int = TRIES
    backoff_s: float = BACKOFF_S
    write_url: str = ""
    select_window_s: float = SELECT_WINDOW_S

    @property
    def shown(self) -> str:
        """Where it is, without what a URL may hold of secrets."""
        parts = urlsplit(self.url)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return f"{self.name} ({place})" if self.name else place

    def __repr__(self) -> str:
        return f"Endpoint({self.shown})"


def checked(endpoint: Endpoint) -> Endpoint:
    """The endpoint when it can be asked at all; ``Invalid`` with a mend when not."""
    for url in (endpoint.url, endpoint.write_url):
        if url:
            _check_url(url, endpoint)
    if endpoint.bearer and endpoint.username:
        raise Invalid(
            "POISE-H101", "a source is told of either a bearer token or a user", where=endpoint.shown,
            mend="Keep one of bearerToken and basicAuth.",
        )  # fmt: skip
    if bool(endpoint.certificate_file) != bool(endpoint.key_file):
        raise Invalid(
            "POISE-H102", "a client certificate needs its key", where=endpoint.shown,
            mend="Name certFile and keyFile together.",
        )  # fmt: skip
    return endpoint


def headers_of(endpoint: Endpoint) -> dict[str, str]:
    """What every question says; a compressed answer is never asked for, so that its size is its size."""
    made = {"accept-encoding": "identity", "user-agent": "poise", **endpoint.headers}
    if endpoint.bearer:
        made["authorization"] = f"Bearer {endpoint.bearer}"
    if endpoint.username:
        pair = b64encode(f"{endpoint.username}:{endpoint.password}".encode()).decode()
        made["authorization"] = f"Basic {pair}"
    if endpoint.tenant:
        made["x-scope-orgid"] = endpoint.tenant
    return made


def tls_of(endpoint: Endpoint) -> ssl.SSLContext:
    """How the server proves itself; nothing is skipped unless that is written out."""
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file or None)
        if endpoint.certificate_file:
            context.load_cert_chain(endpoint.certificate_file, endpoint.key_file)
    except (OSError, ssl.SSLError) as error:
        raise Invalid(
            "POISE-H103", "a TLS file of a source cannot be used", where=endpoint.shown,
            why=type(error).__name__, mend="Name readable PEM files under tls:.",
        ) from error  # fmt: skip
    if endpoint.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _check_url(url: str, endpoint: Endpoint) -> None:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    if parts.scheme not in ("http", "https") or not host or host.startswith(_NEVER_ASKED) or "@" in url:
        raise Invalid(
            "POISE-H100", "this is no address of a metrics server", where=endpoint.shown,
            mend="Write an http or https URL without a user or password in it.",
        )  # fmt: skip
