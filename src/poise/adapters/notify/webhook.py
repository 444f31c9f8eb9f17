"""A page as a signed POST.

Source: Standard Webhooks 1.0.0 (headers ``webhook-id``, ``webhook-timestamp``, ``webhook-signature``; the
signature is HMAC-SHA-256 over ``id.timestamp.body``, base64, with the prefix ``v1,``).
"""

from __future__ import annotations

import hmac
import time
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import anyio
import httpx2
import msgspec

from poise.model.errors import Invalid, TimedOut, Unreachable
from poise.model.oncall import Contact, ContactKind
from poise.ports.notifier import Message

TIMEOUT_S: Final = 5.0
_CANNOT_HELP: Final = frozenset({400, 401, 403, 405, 410, 411, 413, 414, 415, 422})
_PURPOSE: Final = b"poise/webhook/1"


def webhook_secret(signing_key: bytes) -> bytes:
    """The secret that receivers verify with; derived, so it gives away nothing of the installation's key."""
    return hmac.new(signing_key, _PURPOSE, sha256).digest()


def shown_secret(secret: bytes) -> str:
    """The secret as Standard Webhooks libraries take it."""
    return f"whsec_{b64encode(secret).decode()}"


def signature(secret: bytes, id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    signed = f"{id}.{timestamp}.".encode() + body
    return f"v1,{b64encode(hmac.new(secret, signed, sha256).digest()).decode()}"


class WebhookNotifier:
    """POSTs JSON. Any 2xx is a receipt; what else it answers is never read."""

    kind = ContactKind.WEBHOOK

    def __init__(
        self, secret: bytes, timeout_s: float = TIMEOUT_S, epoch_s: Callable[[], float] = time.time
    ) -> None:
        self._secret = secret
        self._timeout_s = timeout_s
        self._epoch_s = epoch_s
        self._client: httpx2.AsyncClient | None = None

    async def send(self, contact: Contact, message: Message) -> str:
        """Tell by one POST; see the port for what it raises."""
        where = contact.address
        body = msgspec.json.encode(body_of(message))
        try:
            with anyio.fail_after(self._timeout_s):
                status = await self._post(where, body, self._headers(message, body))
        except (TimeoutError, httpx2.TimeoutException) as error:
            what = f"the receiver did not answer in {self._timeout_s:g} s"
            raise TimedOut("POISE-N801", what, where=where) from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, UnicodeError) as error:
            mend = "Mend the contact's address in poise.yaml."
            raise Invalid("POISE-N501", "the address is none", where=where, mend=mend) from error
        except (httpx2.HTTPError, OSError) as error:
            why = str(error) or type(error).__name__
            raise Unreachable("POISE-N701", "the receiver cannot be reached", where=where, why=why) from error
        return _receipt(status, where)

    async def _post(self, where: str, body: bytes, headers: dict[str, str]) -> int:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=self._timeout_s, follow_redirects=False, trust_env=False
            )
        async with self._client.stream("POST", where, content=body, headers=headers) as answer:
            return int(answer.status_code)

    def _headers(self, message: Message, body: bytes) -> dict[str, str]:
        now = int(self._epoch_s())
        return {
            "content-type": "application/json",
            "user-agent": "poise",
            "idempotency-key": message.id,
            "webhook-id": message.id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._secret, message.id, now, body),
        }


def body_of(message: Message) -> dict[str, Any]:
    """What is posted. ``text`` says it all, for receivers that show one field."""
    return {
        "type": message.kind,
        "id": message.id,
        "incident": message.incident,
        "title": message.title,
        "detail": message.detail,
        "severity": message.severity,
        "link": message.link,
        "text": f"{message.title}\n{message.detail}",
    }


def _receipt(status: int, where: str) -> str:
    if 200 <= status < 300:
        return f"the receiver answered {status}"
    if 300 <= status < 400 or status in _CANNOT_HELP:
        what = f"the receiver refuses: it answered {status}"
        raise Invalid("POISE-N502", what, where=where, mend="Mend the contact's address in poise.yaml.")
    raise Unreachable("POISE-N702", f"the receiver answered {status}", where=where)
