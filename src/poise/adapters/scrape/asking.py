"""One page of one target: bounded in time and bytes, whatever the target does."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio
import anyio.to_thread
import httpx2
from msgspec import Struct

from poise.adapters.prometheus.endpoint import Endpoint, checked, headers_of, tls_of
from poise.adapters.secrets import NamedSecrets
from poise.model.errors import Invalid, NotFound, PoiseError, TimedOut, TooLarge, Unreachable
from poise.model.scrape import Access

ACCEPT: Final = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
CONNECTIONS: Final = httpx2.Limits(max_keepalive_connections=1, keepalive_expiry=300.0)
REDIRECTS: Final = 10
HELD_BYTES: Final = 268_435_456  # of all pages that are being received or wait to be read
BROKEN: Final = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
SCRAPE_ERRORS: Final = (Unreachable, TimedOut, TooLarge, Invalid, NotFound)


@dataclass
class Held:
    """Bytes of pages in memory; shared by all that ask, so that many large pages at once stay bounded."""

    most: int = HELD_BYTES
    bytes: int = 0


@dataclass
class Tls:
    """How the targets under one access prove themselves."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    context: ssl.SSLContext | None = None


class Got(Struct, frozen=True, kw_only=True):
    """An answer as it was sent, its gzip still on."""

    body: bytes
    content_type: str
    encoding: str


class Asker:
    """Asks under one access, over a connection that is kept open between scrapes.

    Each target has one of its own (``apart``): a pool looks at every connection that it keeps, with a call of
    the system each, at every question.
    """

    def __init__(
        self,
        project: str,
        access: Access,
        secrets: NamedSecrets,
        held: Held | None = None,
        tls: Tls | None = None,
    ) -> None:
        self._project, self._access, self._secrets = project, access, secrets
        self._held = held or Held()
        self._tls = tls or Tls()
        self._client: httpx2.AsyncClient | None = None
        self.asking = 0  # questions under way; closed meanwhile they would fail

    def apart(self) -> Asker:
        """Another one with a connection of its own."""
        return Asker(self._project, self._access, self._secrets, self._held, self._tls)

    async def get(self, url: str, timeout_s: float, at_most: int, accept: str = ACCEPT) -> Got:
        """The body of a 200, not longer than ``at_most``; ``drop`` it once read.

        Raises one of ``SCRAPE_ERRORS``.
        """
        self.asking += 1
        try:
            return await self._get(url, timeout_s, at_most, accept)
        finally:
            self.asking -= 1

    def drop(self, got: Got) -> None:
        """A page has been read: its bytes count no longer."""
        self._held.bytes -= len(got.body)

    async def close(self) -> None:
        """Let its connections go."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _get(self, url: str, timeout_s: float, at_most: int, accept: str) -> Got:
        endpoint = await self._endpoint(url)
        client = self._client or await self._connected(endpoint)
        headers = {
            **headers_of(endpoint),
            "accept": accept,
            "accept-encoding": "gzip",
            "x-prometheus-scrape-timeout-seconds": f"{timeout_s:g}",
        }
        try:
            with anyio.fail_after(timeout_s):
                try:
                    return await self._read(client, url, headers, at_most)
                except BROKEN:  # a connection kept open that the target has closed meanwhile
                    return await self._read(client, url, headers, at_most)
        except PoiseError:
            raise
        except TimeoutError:
            raise TimedOut("POISE-M501", f"no whole answer within {timeout_s:g} s", where=url) from None
        except (OSError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            told = str(error) or type(error).__name__
            raise Unreachable("POISE-M502", f"it cannot be asked: {told[:200]}", where=url) from None

    async def _endpoint(self, url: str) -> Endpoint:
        access = self._access
        return checked(
            Endpoint(
                url=url,
                bearer=await self._secrets.value(self._project, access.bearer),
                username=access.username,
                password=await self._secrets.value(self._project, access.password),
                ca_file=access.ca_file,
                certificate_file=access.certificate_file,
                key_file=access.key_file,
                insecure_skip_verify=access.insecure_skip_verify,
            )
        )

    async def _connected(self, endpoint: Endpoint) -> httpx2.AsyncClient:
        """The client; reading the machine's certificates takes too long for the loop, and is done once."""
        async with self._tls.lock:
            if self._tls.context is None:
                self._tls.context = await anyio.to_thread.run_sync(tls_of, endpoint)
        if self._client is None:
            self._client = httpx2.AsyncClient(
                verify=self._tls.context, trust_env=False, timeout=None, limits=CONNECTIONS,
                follow_redirects=True, max_redirects=REDIRECTS, event_hooks={"request": [_allowed]},
            )  # fmt: skip
        return self._client

    async def _read(
        self, client: httpx2.AsyncClient, url: str, headers: Mapping[str, str], at_most: int
    ) -> Got:
        held, body = self._held, bytearray()
        try:
            async with client.stream("GET", url, headers=dict(headers)) as answer:
                if answer.status_code != 200:
                    raise Unreachable(
                        "POISE-M503", f"it answered with status {answer.status_code}", where=url
                    )
                async for piece in answer.aiter_raw():
                    body += piece
                    held.bytes += len(piece)
                    _check_size(len(body), at_most, held, url)
        except BaseException:
            held.bytes -= len(body)
            raise
        return Got(
            body=bytes(body),
            content_type=answer.headers.get("content-type", ""),
            encoding=answer.headers.get("content-encoding", "").strip().lower(),
        )


async def _allowed(request: httpx2.Request) -> None:
    """Where a redirect leads is looked at as the first address was."""
    checked(Endpoint(url=str(request.url)))


def _check_size(size: int, at_most: int, held: Held, url: str) -> None:
    if size > at_most:
        raise TooLarge(
            "POISE-M102", f"a page of more than {at_most} bytes", where=url,
            mend="Expose less, or raise body_size_limit.",
        )  # fmt: skip
    if held.bytes > held.most:
        raise TooLarge(
            "POISE-M506", f"the pages being received hold more than {held.most} bytes", where=url,
            mend="Lower body_size_limit of the jobs with large pages.",
        )  # fmt: skip
