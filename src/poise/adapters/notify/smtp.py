"""A page as a mail. Settings come from the environment; without them a mail says what to set."""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import formatdate
from hashlib import sha256
from typing import Final

import anyio
import anyio.to_thread
from msgspec import Struct

from poise.model.errors import Invalid, TimedOut, Unreachable
from poise.model.oncall import Contact, ContactKind
from poise.ports.notifier import Message

TIMEOUT_S: Final = 5.0
THREADS: Final = 4
SUBJECT_CHARS: Final = 200
DETAIL_CHARS: Final = 20_000
_MODES: Final = ("none", "starttls", "tls")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class SmtpSettings(Struct, frozen=True, kw_only=True):
    """A mail server. ``tls``: ``tls`` from the first byte, ``starttls`` after greeting, or ``none``."""

    host: str
    port: int = 587
    user: str = ""
    password: str = ""
    sender: str = "poise@localhost"
    tls: str = "starttls"


def settings_from(environment: Mapping[str, str]) -> SmtpSettings | None:
    """POISE_SMTP_HOST, _PORT, _USER, _PASSWORD, _FROM and _TLS; None when no host is set.

    Raises ``Invalid`` for what cannot be meant: a bad port or mode, a password sent in the clear.
    """
    host = environment.get("POISE_SMTP_HOST", "").strip()
    if not host:
        return None
    port = environment.get("POISE_SMTP_PORT", "587").strip()
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise _bad("POISE_SMTP_PORT", "it is no port", "export POISE_SMTP_PORT=587")
    usual = {465: "tls", 25: "none"}.get(int(port), "starttls")
    mode = environment.get("POISE_SMTP_TLS", usual).strip().lower()
    if mode not in _MODES:
        raise _bad("POISE_SMTP_TLS", f"it is none of {', '.join(_MODES)}", "export POISE_SMTP_TLS=starttls")
    password = environment.get("POISE_SMTP_PASSWORD", "")
    if password and mode == "none" and host not in _LOOPBACK:
        why = "the password would be sent in the clear"
        raise _bad("POISE_SMTP_TLS", why, "export POISE_SMTP_TLS=starttls")
    return SmtpSettings(
        host=host,
        port=int(port),
        user=environment.get("POISE_SMTP_USER", ""),
        password=password,
        sender=environment.get("POISE_SMTP_FROM", f"poise@{host}"),
        tls=mode,
    )


class SmtpNotifier:
    """Sends a mail from a thread. The Message-ID is made of the message's id alone, so a retry repeats it."""

    kind = ContactKind.EMAIL

    def __init__(self, settings: SmtpSettings | None, timeout_s: float = TIMEOUT_S) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._threads: anyio.CapacityLimiter | None = None

    async def send(self, contact: Contact, message: Message) -> str:
        """Tell by one mail; see the port for what it raises."""
        settings = self._settings
        if settings is None:
            raise Invalid(
                "POISE-N503", "no mail server is set", where="POISE_SMTP_HOST",
                mend="export POISE_SMTP_HOST=mail.example.org; poise down; poise up",
            )  # fmt: skip
        mail = mail_of(contact, message, settings.sender)
        where = f"{settings.host}:{settings.port}"
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(THREADS)
        try:
            with anyio.fail_after(self._timeout_s):
                await anyio.to_thread.run_sync(
                    _deliver, settings, mail, self._timeout_s, abandon_on_cancel=True, limiter=self._threads
                )
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException) as error:
            raise _refused(error, where) from error
        except TimeoutError as error:
            what = f"the mail server did not answer in {self._timeout_s:g} s"
            raise TimedOut("POISE-N802", what, where=where) from error
        except (smtplib.SMTPException, OSError) as error:
            why = str(error) or type(error).__name__
            raise Unreachable("POISE-N703", "the mail server cannot be used", where=where, why=why) from error
        return f"{where} took the mail"


def mail_of(contact: Contact, message: Message, sender: str) -> EmailMessage:
    """The mail. Text of others cannot add a header: each is one line, bounded."""
    mail = EmailMessage()
    mail["Subject"] = _line(message.title)
    mail["From"] = _line(sender)
    mail["To"] = _line(contact.address)
    mail["Date"] = formatdate()
    mail["Message-ID"] = message_id(message.id)
    if message.incident:
        mail["References"] = message_id(message.incident)
    mail["Auto-Submitted"] = "auto-generated"
    if message.severity:
        mail["X-Poise-Severity"] = _line(message.severity)
    if message.kind in ("page", "dispute"):
        mail["X-Priority"] = "1"
    mail.set_content(message.detail[:DETAIL_CHARS])
    return mail


def message_id(id: str) -> str:
    """A stable Message-ID: what can be read of the id, and a digest that tells all ids apart."""
    plain = re.sub(r"[^A-Za-z0-9]+", ".", id).strip(".")[:80]
    return f"<{plain}.{sha256(id.encode()).hexdigest()[:12]}@poise>"


def _deliver(settings: SmtpSettings, mail: EmailMessage, timeout_s: float) -> None:
    context = ssl.create_default_context() if settings.tls != "none" else None
    with _connected(settings, timeout_s, context) as server:
        if settings.tls == "starttls":
            server.starttls(context=context)
        if settings.user:
            server.login(settings.user, settings.password)
        server.send_message(mail)


def _connected(settings: SmtpSettings, timeout_s: float, context: ssl.SSLContext | None) -> smtplib.SMTP:
    if settings.tls == "tls":
        return smtplib.SMTP_SSL(settings.host, settings.port, timeout=timeout_s, context=context)
    return smtplib.SMTP(settings.host, settings.port, timeout=timeout_s)


def _refused(error: smtplib.SMTPException, where: str) -> Invalid | Unreachable:
    """5xx is for good, 4xx is for now (RFC 5321, 4.2.1)."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
    else:
        codes = [error.smtp_code] if isinstance(error, smtplib.SMTPResponseException) else []
    what = f"the mail server refuses: {', '.join(map(str, codes))}"
    if codes and min(codes) >= 500:
        return Invalid("POISE-N504", what, where=where, mend="Mend the address, or POISE_SMTP_* and restart.")
    return Unreachable("POISE-N704", what, where=where)


def _line(text: str) -> str:
    """One printable line, bounded."""
    return "".join(char if char.isprintable() else " " for char in text[:SUBJECT_CHARS])


def _bad(name: str, why: str, mend: str) -> Invalid:
    return Invalid("POISE-N505", f"{name} cannot be used", where=name, why=why, mend=mend)
