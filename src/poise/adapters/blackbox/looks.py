"""One look at a target: what was measured, and why it failed if it did. No target makes it raise."""

from __future__ import annotations

import secrets
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx2
import re2  # type: ignore[import-untyped]
from anyio.streams.tls import TLSAttribute
from cryptography import x509
from msgspec import Struct

from poise.model.service import Probe, ProbeKind

BODY_BYTES: Final = 1_048_576
REDIRECTS: Final = 10
PHASES: Final = {
    "connection.connect_tcp": "connect",
    "connection.start_tls": "tls",
    "http11.receive_response_headers": "processing",
}
TIMED: Final = ("resolve", "connect", "tls", "processing", "transfer")
Figures = dict[tuple[str, str], float]  # (name, phase or "")


class Look(Struct, frozen=True, kw_only=True):
    """What one look found. ``why`` is empty where it succeeded."""

    figures: Figures
    why: str = ""


async def look(probe: Probe, clock: Callable[[], float] = time.perf_counter) -> Look:
    """Look once, for at most the probe's time-out."""
    began = clock()
    figures: Figures = {}
    why = f"no answer within {probe.timeout_s:g} s"
    with anyio.move_on_after(probe.timeout_s):
        try:
            why = await _LOOKS[probe.kind](probe, figures, clock)
        except (
            OSError,
            httpx2.HTTPError,
            httpx2.InvalidURL,
            ssl.SSLError,
            ValueError,
            UnicodeError,
        ) as error:
            why = f"{type(error).__name__}: {error}"[:200]
    figures["probe_success", ""] = float(not why)
    figures["probe_duration_seconds", ""] = clock() - began
    return Look(figures=figures, why=why)


async def _http(probe: Probe, figures: Figures, clock: Callable[[], float]) -> str:
    for phase in TIMED:
        figures["probe_http_duration_seconds", phase] = 0.0
    started: dict[str, float] = {}

    async def trace(event: str, _info: Any) -> None:
        name, _, state = event.rpartition(".")
        if name in PHASES and state == "started":
            started[name] = clock()
        elif name in PHASES and state == "complete":
            figures["probe_http_duration_seconds", PHASES[name]] += clock() - started.pop(name, clock())

    host = urlsplit(probe.target).hostname or ""
    await _resolved(host, figures, clock)
    looked_up = figures["probe_dns_lookup_time_seconds", ""]
    figures["probe_http_duration_seconds", "resolve"] = looked_up
    async with (
        httpx2.AsyncClient(
            verify=not probe.insecure, trust_env=False, follow_redirects=True, max_redirects=REDIRECTS,
            timeout=probe.timeout_s,
        ) as client,
        client.stream("GET", probe.target, extensions={"trace": trace}) as answer,
    ):  # fmt: skip
        began, body = clock(), bytearray()
        async for piece in answer.aiter_bytes():
            body += piece[: BODY_BYTES - len(body)]
            if len(body) >= BODY_BYTES:
                break
        figures["probe_http_duration_seconds", "transfer"] = clock() - began
        figures["probe_http_status_code", ""] = float(answer.status_code)
        figures["probe_http_content_length", ""] = float(answer.headers.get("content-length", "-1"))
        figures["probe_http_uncompressed_body_length", ""] = float(len(body))
        figures["probe_http_redirects", ""] = float(len(answer.history))
        figures["probe_http_version", ""] = float(answer.http_version.removeprefix("HTTP/") or 0)
        stream = answer.extensions.get("network_stream")
        session = stream.get_extra_info("ssl_object") if stream is not None else None
        figures["probe_http_ssl", ""] = float(session is not None)
        _certificate(session, figures)
        return _judged(probe, answer.status_code, bytes(body), figures)


def _judged(probe: Probe, status: int, body: bytes, figures: Figures) -> str:
    expected = probe.statuses or tuple(range(200, 300))
    missing = bool(probe.body) and re2.search(probe.body, body.decode(errors="replace")) is None
    figures["probe_failed_due_to_regex", ""] = float(missing)
    if status not in expected:
        return f"status {status} was not expected"
    return f"the body does not match {probe.body!r}" if missing else ""


async def _tcp(probe: Probe, figures: Figures, clock: Callable[[], float]) -> str:
    host, port = _place(probe.target)
    address = await _resolved(host, figures, clock)
    async with await anyio.connect_tcp(address, port):
        return ""


async def _tls(probe: Probe, figures: Figures, clock: Callable[[], float]) -> str:
    host, port = _place(probe.target)
    await _resolved(host, figures, clock)
    context = ssl.create_default_context()
    if probe.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    stream = await anyio.connect_tcp(host, port, ssl_context=context, tls_standard_compatible=False)
    async with stream:
        _certificate(stream.extra(TLSAttribute.ssl_object), figures)  # noqa: S610 (anyio's, not Django's)
        return ""


async def _dns(probe: Probe, figures: Figures, clock: Callable[[], float]) -> str:
    """An A query over UDP to the named server."""
    host, port = _place(probe.server)
    number = secrets.randbelow(65_536)
    question = b"".join(
        bytes([len(part)]) + part for part in probe.target.rstrip(".").encode("idna").split(b".")
    )
    query = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + question + b"\0" + struct.pack(">2H", 1, 1)
    began = clock()
    async with await anyio.create_connected_udp_socket(host, port) as udp:
        await udp.send(query)
        while True:
            answer = await udp.receive()
            if len(answer) >= 12 and struct.unpack_from(">H", answer)[0] == number:
                break
    _, flags, _, answers, authority, additional = struct.unpack_from(">6H", answer)
    figures["probe_dns_duration_seconds", "request"] = clock() - began
    figures["probe_dns_query_succeeded", ""] = 1.0
    for name, count in (("answer", answers), ("authority", authority), ("additional", additional)):
        figures[f"probe_dns_{name}_rrs", ""] = float(count)
    code = flags & 0xF
    if code:
        return f"the server answered code {code}" + (" (no such name)" if code == 3 else "")
    return "" if answers else "the answer is empty"


async def _resolved(host: str, figures: Figures, clock: Callable[[], float]) -> str:
    """The first address of a host; how long that took, and its protocol."""
    began = clock()
    found = await anyio.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    figures["probe_dns_lookup_time_seconds", ""] = clock() - began
    family, address = found[0][0], str(found[0][4][0])
    figures["probe_ip_protocol", ""] = 6.0 if family == socket.AF_INET6 else 4.0
    return address


def _certificate(session: Any, figures: Figures) -> None:
    raw = session.getpeercert(binary_form=True) if session is not None else None
    if raw:
        expiry = x509.load_der_x509_certificate(raw).not_valid_after_utc
        figures["probe_ssl_earliest_cert_expiry", ""] = expiry.timestamp()


def _place(text: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[v6]:port``."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname or not parts.port:
        raise ValueError(f"{text} is no host:port")
    return parts.hostname, parts.port


_LOOKS: Final = {ProbeKind.HTTP: _http, ProbeKind.TCP: _tcp, ProbeKind.TLS: _tls, ProbeKind.DNS: _dns}
