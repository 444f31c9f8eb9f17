"""One page of one target: bounded in time and bytes, whatever the target does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import anyio
import httpx2
from msgspec import Struct

from poise.adapters.prometheus.endpoint import Endpoint, checked, headers_of, tls_of
from poise.adapters.secrets import NamedSecrets
from poise.model.errors import Invalid, NotFound, TimedOut, TooLarge, Unreachable
from poise.model.scrape import ScrapeConfig

ACCEPT: Final = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
CONNECTIONS: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=200)
SCRAPE_ERRORS: Final = (Unreachable, TimedOut, TooLarge, Invalid, NotFound)


class Got(Struct, frozen=True, kw_only=True):
    """An answer as it was sent, its gzip still on."""

    body: bytes
    content_type: str
    encoding: str


class Asker:
    """Connections of one scrape configuration, kept open between scrapes."""

    def __init__(self, project: str, config: ScrapeConfig, secrets: NamedSecrets) -> None:
        self._project, self.config, self._secrets = project, config, secrets
        self._client: httpx2.AsyncClient | None = None

    async def get(self, url: str, timeout_s: float, accept: str = ACCEPT) -> Got:
        """The body of a 200. Raises one of ``SCRAPE_ERRORS``."""
        config = self.config
        endpoint = checked(
            Endpoint(
                url=url,
                bearer=await self._secrets.value(self._project, config.bearer),
                username=config.username,
                password=await self._secrets.value(self._project, config.password),
                ca_file=config.ca_file,
                certificate_file=config.certificate_file,
                key_file=config.key_file,
                insecure_skip_verify=config.insecure_skip_verify,
            )
        )
        if self._client is None:
            self._client = httpx2.AsyncClient(
                verify=tls_of(endpoint), trust_env=False, timeout=None, limits=CONNECTIONS,
                follow_redirects=True, max_redirects=10,
            )  # fmt: skip
        headers = {
            **headers_of(endpoint),
            "accept": accept,
            "accept-encoding": "gzip",
            "x-prometheus-scrape-timeout-seconds": f"{timeout_s:g}",
        }
        try:
            with anyio.fail_after(timeout_s):
                return await self._read(self._client, url, headers)
        except TimeoutError:
            raise TimedOut("POISE-M501", f"no whole answer within {timeout_s:g} s", where=url) from None
        except (OSError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            told = str(error) or type(error).__name__
            raise Unreachable("POISE-M502", f"it cannot be asked: {told[:200]}", where=url) from None

    async def _read(self, client: httpx2.AsyncClient, url: str, headers: Mapping[str, str]) -> Got:
        at_most, body = self.config.body_bytes, bytearray()
        async with client.stream("GET", url, headers=dict(headers)) as answer:
            if answer.status_code != 200:
                raise Unreachable("POISE-M503", f"it answered with status {answer.status_code}", where=url)
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > at_most:
                    raise TooLarge(
                        "POISE-M102", f"a page of more than {at_most} bytes", where=url,
                        mend="Expose less, or raise bodySizeLimit.",
                    )  # fmt: skip
        return Got(
            body=bytes(body),
            content_type=answer.headers.get("content-type", ""),
            encoding=answer.headers.get("content-encoding", "").strip().lower(),
        )

    async def close(self) -> None:
        """Let its connections go."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
