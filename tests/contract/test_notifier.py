"""The notifier port's contract, over real sockets, on both ways of telling."""

from __future__ import annotations

import base64
import hmac
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message as Mail
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import pytest

from poise.adapters.notify.smtp import SmtpNotifier, SmtpSettings, settings_from
from poise.adapters.notify.webhook import WebhookNotifier, shown_secret, webhook_secret
from poise.model.errors import Invalid, TimedOut, Unreachable
from poise.model.oncall import Contact, ContactKind
from poise.ports.notifier import Message, Notifier

SECRET = webhook_secret(b"k" * 32)
SHORT_S = 0.4
MESSAGE = Message(
    id="shop/000007/000001", title="[SEV1] web burns", detail="Since: noon\nAlert: <b>fast</b>",
    severity="sev1", link="http://127.0.0.1/ack/x", incident="shop/000007",
)  # fmt: skip


class Receiver:
    """What a receiver got, and how it behaves: ``good``, ``busy``, ``refusing`` or ``hanging``."""

    def __init__(self) -> None:
        self.manner = "good"
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.free = threading.Event()
        self.port = 0


class _Http(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        manner = self.receiver.manner
        if manner == "hanging":
            self.receiver.free.wait(10)
            return
        self.receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status = {"good": 204, "busy": 503, "refusing": 422, "moved": 302}[manner]
        self.send_response(status)
        if manner == "moved":
            self.send_header("location", f"http://127.0.0.1:{self.receiver.port}/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class _Smtp(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as one mail needs."""

    receiver: Receiver

    def handle(self) -> None:
        manner = self.receiver.manner
        if manner == "hanging":
            self.receiver.free.wait(10)
            return
        self._say("220 sink")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"RCPT" and manner in ("busy", "refusing"):
                self._say("451 later" if manner == "busy" else "550 no such mailbox")
            elif verb == b"DATA":
                self._say("354 go on")
                self.receiver.got.append(({}, self._data()))
                self._say("250 taken")
            elif verb == b"QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _data(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line)
        return b"".join(lines)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


@contextmanager
def receiving(kind: ContactKind) -> Iterator[Receiver]:
    receiver = Receiver()
    handler = type("Handler", (_Http if kind is ContactKind.WEBHOOK else _Smtp,), {"receiver": receiver})
    make = ThreadingHTTPServer if kind is ContactKind.WEBHOOK else _Server
    with make(("127.0.0.1", 0), handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.free.set()
            server.shutdown()
            thread.join(5)


@pytest.fixture(params=list(ContactKind))
def kind(request: pytest.FixtureRequest) -> ContactKind:
    return ContactKind(request.param)


@pytest.fixture
def receiver(kind: ContactKind) -> Iterator[Receiver]:
    with receiving(kind) as one:
        yield one


def notifier(kind: ContactKind, port: int, timeout_s: float = 5.0) -> tuple[Notifier, Contact]:
    if kind is ContactKind.WEBHOOK:
        contact = Contact(kind=kind, address=f"http://127.0.0.1:{port}/hook")
        return WebhookNotifier(SECRET, timeout_s, lambda: 1_700_000_000.0), contact
    settings = SmtpSettings(host="127.0.0.1", port=port, tls="none", sender="poise@example.org")
    return SmtpNotifier(settings, timeout_s), Contact(kind=kind, address="anna@example.org")


def send(kind: ContactKind, port: int, message: Message = MESSAGE, timeout_s: float = 5.0) -> str:
    made, contact = notifier(kind, port, timeout_s)
    return anyio.run(made.send, contact, message)


def mail_in(receiver: Receiver, index: int = 0) -> Mail:
    return message_from_bytes(receiver.got[index][1])


def test_what_is_sent_arrives_and_is_receipted(kind: ContactKind, receiver: Receiver) -> None:
    receipt = send(kind, receiver.port)
    assert receipt
    assert len(receiver.got) == 1
    assert b"web burns" in receiver.got[0][1]


def test_the_same_message_twice_carries_the_same_id(kind: ContactKind, receiver: Receiver) -> None:
    """A crash between sending and recording sends once more; the receiver can tell."""
    send(kind, receiver.port)
    send(kind, receiver.port)
    if kind is ContactKind.WEBHOOK:
        ids = {headers["idempotency-key"] for headers, _ in receiver.got}
    else:
        ids = {str(mail_in(receiver, index)["Message-ID"]) for index in (0, 1)}
    assert len(ids) == 1


def test_who_says_later_may_be_asked_later(kind: ContactKind, receiver: Receiver) -> None:
    receiver.manner = "busy"
    with pytest.raises(Unreachable):
        send(kind, receiver.port)


def test_who_refuses_is_not_asked_again(kind: ContactKind, receiver: Receiver) -> None:
    receiver.manner = "refusing"
    with pytest.raises(Invalid) as raised:
        send(kind, receiver.port)
    assert raised.value.mend


def test_a_receiver_that_hangs_is_given_up_after_the_time_out(kind: ContactKind, receiver: Receiver) -> None:
    receiver.manner = "hanging"
    began = time.monotonic()
    with pytest.raises((TimedOut, Unreachable)):
        send(kind, receiver.port, timeout_s=SHORT_S)
    assert time.monotonic() - began < 8  # it would hang for ten


def test_nobody_there_is_unreachable(kind: ContactKind) -> None:
    with receiving(kind) as gone:
        port = gone.port
    with pytest.raises(Unreachable):
        send(kind, port)


def test_a_webhook_is_signed_as_standard_webhooks_verify_it() -> None:
    """Source: Standard Webhooks 1.0.0, "Verifying signatures", from the receiver's side."""
    with receiving(ContactKind.WEBHOOK) as receiver:
        send(ContactKind.WEBHOOK, receiver.port)
    headers, body = receiver.got[0]
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (MESSAGE.id, "1700000000")
    secret = base64.b64decode(shown_secret(SECRET).removeprefix("whsec_"))
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    expected = "v1," + base64.b64encode(hmac.new(secret, signed, sha256).digest()).decode()
    assert headers["webhook-signature"] == expected
    told = json.loads(body)
    assert (told["incident"], told["severity"], told["link"], told["type"]) == (
        "shop/000007", "sev1", MESSAGE.link, "page",
    )  # fmt: skip


def test_a_redirect_is_not_followed() -> None:
    with receiving(ContactKind.WEBHOOK) as receiver:
        receiver.manner = "moved"
        with pytest.raises(Invalid):
            send(ContactKind.WEBHOOK, receiver.port)
    assert len(receiver.got) == 1


def test_an_address_that_is_none_is_invalid() -> None:
    made, _ = notifier(ContactKind.WEBHOOK, 1)
    with pytest.raises(Invalid):
        anyio.run(made.send, Contact(kind=ContactKind.WEBHOOK, address="http://[::1/x"), MESSAGE)


def test_no_title_can_add_a_header_to_a_mail() -> None:
    """An alert's text is data: a line break in it starts no header."""
    evil = Message(
        id="x", title="hi\r\nBcc: eve@example.org\r\n\r\nbody", detail="one", severity="sev1", link="",
    )  # fmt: skip
    with receiving(ContactKind.EMAIL) as receiver:
        send(ContactKind.EMAIL, receiver.port, evil)
    mail = mail_in(receiver)
    assert mail["Bcc"] is None
    assert str(mail["Subject"]).startswith("hi")
    assert mail.get_payload().strip() == "one"


def test_a_mail_threads_by_incident_and_keeps_its_text_plain() -> None:
    with receiving(ContactKind.EMAIL) as receiver:
        send(ContactKind.EMAIL, receiver.port)
    mail = mail_in(receiver)
    assert mail.get_content_type() == "text/plain"
    assert "shop.000007" in str(mail["References"])
    assert "<b>fast</b>" in str(mail.get_payload())


def test_without_a_mail_server_it_says_what_to_set() -> None:
    with pytest.raises(Invalid) as raised:
        anyio.run(SmtpNotifier(None).send, Contact(kind=ContactKind.EMAIL, address="a@x"), MESSAGE)
    assert "POISE_SMTP_HOST" in raised.value.mend


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (587, "starttls")),
        ({"POISE_SMTP_PORT": "465"}, (465, "tls")),
        ({"POISE_SMTP_PORT": "25"}, (25, "none")),
        ({"POISE_SMTP_TLS": "NONE"}, (587, "none")),
    ],
)
def test_mail_settings_have_defaults_by_port(more: dict[str, str], expected: tuple[int, str]) -> None:
    found = settings_from({"POISE_SMTP_HOST": "mail.example.org", **more})
    assert found is not None
    assert (found.port, found.tls) == expected


@pytest.mark.parametrize(
    "more",
    [
        {"POISE_SMTP_PORT": "many"},
        {"POISE_SMTP_TLS": "maybe"},
        {"POISE_SMTP_TLS": "none", "POISE_SMTP_PASSWORD": "hunter2"},
    ],
)
def test_mail_settings_that_cannot_be_meant_are_refused_without_showing_them(more: dict[str, str]) -> None:
    with pytest.raises(Invalid) as raised:
        settings_from({"POISE_SMTP_HOST": "mail.example.org", **more})
    assert raised.value.mend.startswith("export POISE_SMTP_")
    assert "hunter2" not in str(raised.value)
