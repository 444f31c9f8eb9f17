"""Looks at real servers: what is measured, and why one fails."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from poise.adapters.blackbox.looks import Look, look
from poise.model.service import Probe, ProbeKind

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
EXPIRES = datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC)


def answering(text: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline():
            writer.write(text)
            await writer.drain()
            writer.write_eof() if writer.can_write_eof() else None
            await reader.read()

    return handle


async def hanging(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve until left; then every connection is shut before the loop ends."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except OSError:
            pass
        finally:
            writer.transport.abort()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(handle(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=context)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def looked(
    kind: ProbeKind, handler: Handler, context: ssl.SSLContext | None = None, **changes: object
) -> Look:
    async def run() -> Look:
        async with serving(handler, context) as place:
            scheme = "https" if context else "http"
            target = f"{scheme}://{place}/" if kind is ProbeKind.HTTP else place
            probe = Probe(name="p", kind=kind, target=target, **{"timeout_s": 5.0, **changes})  # type: ignore[arg-type]
            return await look(probe)

    return asyncio.run(run())


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


def test_an_answer_is_measured_under_blackbox_exporters_names() -> None:
    found = looked(ProbeKind.HTTP, answering(OK))
    assert (found.why, found.figures["probe_success", ""]) == ("", 1.0)
    assert found.figures["probe_http_status_code", ""] == 200
    assert found.figures["probe_http_content_length", ""] == 5
    assert found.figures["probe_ip_protocol", ""] == 4
    phases = {phase for name, phase in found.figures if name == "probe_http_duration_seconds"}
    assert phases == {"resolve", "connect", "tls", "processing", "transfer"}
    assert found.figures["probe_http_duration_seconds", "connect"] > 0


def test_another_status_or_body_fails_and_says_which() -> None:
    refused = looked(ProbeKind.HTTP, answering(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"))
    assert (refused.why, refused.figures["probe_success", ""]) == ("status 503 was not expected", 0.0)
    assert looked(ProbeKind.HTTP, answering(OK), statuses=(401,)).figures["probe_success", ""] == 0.0
    other = looked(ProbeKind.HTTP, answering(OK), body="^bye")
    assert "does not match" in other.why and other.figures["probe_failed_due_to_regex", ""] == 1.0


def test_who_hangs_or_streams_for_ever_is_left(tmp_path: Path) -> None:
    hung = looked(ProbeKind.HTTP, hanging, timeout_s=0.2)
    assert hung.figures["probe_success", ""] == 0.0 and hung.why
    assert looked(ProbeKind.HTTP, endless).figures["probe_http_uncompressed_body_length", ""] == 1_048_576


def test_a_port_that_is_open_or_shut() -> None:
    assert looked(ProbeKind.TCP, hanging).figures["probe_success", ""] == 1.0
    with socket.socket() as taken:  # bound, never listening: refused
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        shut = asyncio.run(look(Probe(name="p", kind=ProbeKind.TCP, target=place)))
    assert shut.figures["probe_success", ""] == 0.0 and shut.why


def test_when_a_certificate_ends_is_told_and_a_strangers_is_a_failure(tmp_path: Path) -> None:
    context = certified(tmp_path)
    for kind in (ProbeKind.TLS, ProbeKind.HTTP):
        found = looked(kind, answering(OK), context, insecure=True)
        assert found.figures["probe_ssl_earliest_cert_expiry", ""] == EXPIRES.timestamp(), found.why
    stranger = looked(ProbeKind.TLS, answering(OK), context)
    assert stranger.figures["probe_success", ""] == 0.0 and "certificate" in stranger.why.lower()


def certified(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(EXPIRES).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_a_name_is_asked_for_at_its_server() -> None:
    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            number, known = struct.unpack_from(">H", data)[0], b"known" in data
            head = struct.pack(">6H", number, 0x8180 | (0 if known else 3), 1, int(known), 0, 0)
            self.transport.sendto(head + data[12:], addr)  # type: ignore[attr-defined]

    async def run(name: str) -> Look:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Server, local_addr=("127.0.0.1", 0)
        )
        host, port = transport.get_extra_info("sockname")
        try:
            probe = Probe(name="p", kind=ProbeKind.DNS, target=name, server=f"{host}:{port}")
            return await look(probe)
        finally:
            transport.close()

    known, unknown = asyncio.run(run("known.example")), asyncio.run(run("other.example"))
    assert (known.why, known.figures["probe_dns_answer_rrs", ""]) == ("", 1.0)
    assert "no such name" in unknown.why and unknown.figures["probe_success", ""] == 0.0
