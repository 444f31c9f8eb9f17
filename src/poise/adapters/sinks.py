"""The Sink port over HTTP: CloudEvents' structured mode, signed as Standard Webhooks.

Source: cloudevents/spec v1.0.2, HTTP binding; standardwebhooks.com.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx2
import msgspec

from poise.model.errors import Invalid, TimedOut, Unreachable
from poise.ports.clock import Clock

TIMEOUT_S: Final = 5.0
CONTENT_TYPE: Final = "application/cloudevents+json"
_LATER: Final = frozenset({408, 425, 429})
_NEVER_ASKED: Final = ("169.254.", "[fe80:", "metadata.google.internal")  # a cloud's own secrets live there


def sink_secret(signing_key: bytes, project: str, url: str) -> str:
    """The secret by which a receiver tells that an event is ours: ``whsec_<base64>``, one per sink."""
    return f"whsec_{b64encode(_key(signing_key, project, url)).decode()}"


def _key(signing_key: bytes, project: str, url: str) -> bytes:
    return hmac.new(signing_key, f"sink\0{project}\0{url}".encode(), sha256).digest()


class HttpSink:
    """One POST per event, on a connection of its own; redirects are not followed, answers not read."""

    def __init__(self, signing_key: bytes, clock: Clock, timeout_s: float = TIMEOUT_S) -> None:
        self._signing_key = signing_key
        self._clock = clock
        self._timeout_s = timeout_s

    async def send(self, project: str, url: str, event: dict[str, Any]) -> str:
        """See ``ports.sink``."""
        _allowed(url)
        body = msgspec.json.encode(event, order="sorted")
        headers = self._headers(project, url, str(event["id"]), body)
        try:
            with anyio.fail_after(self._timeout_s):
                async with httpx2.AsyncClient(trust_env=False, timeout=self._timeout_s) as client:  # noqa: SIM117
                    async with client.stream("POST", url, content=body, headers=headers) as answer:
                        status = answer.status_code
        except TimeoutError:
            raise _late(url, self._timeout_s) from None
        except httpx2.TimeoutException:
            raise _late(url, self._timeout_s) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise Unreachable(
                "POISE-E720", "a sink cannot be reached", where=_host(url), why=type(error).__name__,
                mend="See whether it runs; Poise tries again by itself.",
            ) from error  # fmt: skip
        return _judged(url, status)

    def _headers(self, project: str, url: str, name: str, body: bytes) -> dict[str, str]:
        stamp = str(int(self._clock.now().timestamp()))
        key = _key(self._signing_key, project, url)
        mac = hmac.new(key, f"{name}.{stamp}.".encode() + body, sha256).digest()
        return {
            "content-type": CONTENT_TYPE,
            "user-agent": "poise",
            "webhook-id": name,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{b64encode(mac).decode()}",
        }


def _judged(url: str, status: int) -> str:
    if 200 <= status < 300:
        return f"{_host(url)} answered {status}"
    if status in _LATER or status >= 500:
        raise Unreachable(
            "POISE-E721", f"a sink answered {status}", where=_host(url),
            mend="Look at its log; Poise tries again by itself.",
        )  # fmt: skip
    raise Invalid(
        "POISE-E722", f"a sink refused an event with {status}", where=_host(url),
        mend="Correct its URL under events: in poise.yaml.",
    )  # fmt: skip


def _allowed(url: str) -> None:
    parts = urlsplit(url)
    host = (parts.netloc.rpartition("@")[2]).lower()
    if parts.scheme not in ("http", "https") or not host or host.startswith(_NEVER_ASKED):
        raise Invalid(
            "POISE-E723", "this is no sink", where=_host(url), mend="Name an http or https URL under events:."
        )


def _late(url: str, timeout_s: float) -> TimedOut:
    return TimedOut(
        "POISE-E820", f"a sink did not answer in {timeout_s:g} s", where=_host(url),
        mend="See whether it runs; Poise tries again by itself.",
    )  # fmt: skip


def _host(url: str) -> str:
    """Where an event goes, without what a URL may hold of secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
