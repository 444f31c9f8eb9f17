"""Questions over HTTP: bounded in time and size, asked again only where that is harmless and may help."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlencode

import anyio
import httpx2
import msgspec
from msgspec import Struct

from poise.adapters.prometheus.endpoint import BACKOFF_MAX_S, Endpoint, checked, headers_of, tls_of
from poise.model.errors import Invalid, PoiseError, TimedOut, TooLarge, Unreachable

LATER: Final = frozenset({429, 502, 503, 504})
NOT_BY_POST: Final = frozenset({405, 501})
SAID_CHARS: Final = 500
Form = Iterable[tuple[str, str]]


class _Fault(Struct):
    """An error in the words of Prometheus' API."""

    status: str = ""
    errorType: str = ""
    error: str = ""


class Answer(Struct, frozen=True):
    """A status with the whole body."""

    status: int
    body: bytes
    retry_after_s: float | None = None


class Asker:
    """One server's connections. Every question ends within the endpoint's ``timeout_s``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = checked(endpoint)
        self._client: httpx2.AsyncClient | None = None
        self._by_get = False

    async def ask(self, path: str, form: Form, timeout_s: float | None = None) -> bytes:
        """The body of a 200. A form goes by POST, or by GET where the server takes no POST."""
        fields = list(form)
        url = f"{self.endpoint.url.rstrip('/')}{path}"
        if not self._by_get:
            answer = await self._tried(url, timeout_s, fields=fields)
            if answer.status not in NOT_BY_POST:
                return self._judged(answer)
            self._by_get = True
        return self._judged(await self._tried(url, timeout_s, query=fields))

    async def fetch(self, path: str, query: Form) -> bytes:
        """The body of a 200, asked by GET."""
        url = f"{self.endpoint.url.rstrip('/')}{path}"
        return self._judged(await self._tried(url, None, query=list(query)))

    async def send(self, body: bytes, headers: Mapping[str, str]) -> None:
        """POST to the write URL; raises what a question raises."""
        self._judged(await self._tried(self.endpoint.write_url, None, content=body, headers=dict(headers)))

    async def close(self) -> None:
        """Let the connections go."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _tried(
        self,
        url: str,
        timeout_s: float | None,
        *,
        fields: list[tuple[str, str]] | None = None,
        query: list[tuple[str, str]] | None = None,
        content: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        limit_s = min(timeout_s or self.endpoint.timeout_s, self.endpoint.timeout_s)
        request = _request(url, fields, query, content, headers or {})
        try:
            with anyio.fail_after(limit_s):
                return await self._again(request)
        except TimeoutError:
            raise self._late(limit_s) from None

    async def _again(self, request: httpx2.Request) -> Answer:
        last: PoiseError | None = None
        for number in range(self.endpoint.tries):
            try:
                answer = await self._once(request)
            except Unreachable as error:
                last, wait_s = error, None
            else:
                if answer.status not in LATER or _fault(answer.body).errorType == "timeout":
                    return answer
                last, wait_s = None, answer.retry_after_s
                if number + 1 == self.endpoint.tries:
                    return answer
            if number + 1 < self.endpoint.tries:
                backoff_s = min(BACKOFF_MAX_S, self.endpoint.backoff_s * 2**number)
                await anyio.sleep(max(wait_s or 0.0, backoff_s))
        assert last is not None
        raise last

    async def _once(self, request: httpx2.Request) -> Answer:
        try:
            client = self._connected()
            # a request object keeps its own headers; the client's stand beside them
            request.headers.update(headers_of(self.endpoint))
            answer = await client.send(request, stream=True)
            try:
                body = await self._body(answer)
            finally:
                await answer.aclose()
        except httpx2.TimeoutException:
            raise self._late(self.endpoint.timeout_s) from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, UnicodeError) as error:
            raise Invalid("POISE-H100", "this is no address of a metrics server",
                          where=self.endpoint.shown, mend="Mend the source's url.") from error  # fmt: skip
        except (httpx2.HTTPError, OSError, ssl.SSLError) as error:
            raise Unreachable(
                "POISE-H110", "the metrics server cannot be reached", where=self.endpoint.shown,
                why=_why(error), mend="See whether it runs, and the source's url and tls.",
            ) from error  # fmt: skip
        return Answer(answer.status_code, body, _seconds(answer.headers.get("retry-after")))

    async def _body(self, answer: httpx2.Response) -> bytes:
        if answer.headers.get("content-encoding", "identity") not in ("", "identity"):
            raise Invalid("POISE-H121", "the metrics server compressed its answer unasked",
                          where=self.endpoint.shown, mend="Ask it without the proxy between.")  # fmt: skip
        chunks, size = [], 0
        async for chunk in answer.aiter_raw():
            size += len(chunk)
            if size > self.endpoint.body_bytes:
                what = f"the answer has more than {self.endpoint.body_bytes} bytes"
                raise TooLarge("POISE-H120", what, where=self.endpoint.shown,
                               mend="Ask for fewer series, a shorter range or a longer step.")  # fmt: skip
            chunks.append(chunk)
        return b"".join(chunks)

    def _connected(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=self.endpoint.timeout_s,
                follow_redirects=False,
                trust_env=False,
                verify=tls_of(self.endpoint),
            )
        return self._client

    def _judged(self, answer: Answer) -> bytes:
        if 200 <= answer.status < 300:
            return answer.body
        fault, where = _fault(answer.body), self.endpoint.shown
        said = (fault.error or answer.body[:SAID_CHARS].decode(errors="replace")).strip()[:SAID_CHARS]
        if fault.errorType in ("timeout", "canceled"):
            raise TimedOut("POISE-H131", "the metrics server gave the query up", where=where, why=said,
                           mend="Ask for fewer series or a shorter range.")  # fmt: skip
        if answer.status in (401, 403):
            raise Invalid("POISE-H132", f"the metrics server refuses us ({answer.status})", where=where,
                          why=said, mend="Mend the source's credentials or tenant.")  # fmt: skip
        if fault.errorType == "execution" and "too many samples" in said:
            raise TooLarge("POISE-H133", "the query loads too many samples", where=where, why=said,
                           mend="Ask for fewer series or a shorter range.")  # fmt: skip
        if answer.status >= 500 or answer.status in LATER:
            what = f"the metrics server answered {answer.status}"
            raise Unreachable("POISE-H111", what, where=where, why=said, mend="Look at its log.")
        if answer.status < 400:
            raise Invalid("POISE-H134", "the metrics server sends us elsewhere", where=where,
                          mend="Write its final address as the source's url.")  # fmt: skip
        raise Invalid("POISE-H130", "the metrics server refuses the question", where=where,
                      why=said or f"It answered {answer.status}.", mend="Mend the expression.")  # fmt: skip

    def _late(self, limit_s: float) -> TimedOut:
        what = f"the metrics server did not answer in {limit_s:g} s"
        return TimedOut("POISE-H140", what, where=self.endpoint.shown,
                        mend="See whether it is busy, or raise the source's timeout.")  # fmt: skip


def _request(
    url: str,
    fields: list[tuple[str, str]] | None,
    query: list[tuple[str, str]] | None,
    content: bytes,
    headers: dict[str, str],
) -> httpx2.Request:
    if fields is not None:
        body = urlencode(fields).encode()
        form = {"content-type": "application/x-www-form-urlencoded"}
        return httpx2.Request("POST", url, content=body, headers=form)
    if query is not None:
        return httpx2.Request("GET", f"{url}?{urlencode(query)}" if query else url)
    return httpx2.Request("POST", url, content=content, headers=headers)


def _fault(body: bytes) -> _Fault:
    if len(body) > 1_000_000 or not body.lstrip().startswith(b"{"):
        return _Fault()
    try:
        return msgspec.json.decode(body, type=_Fault)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Fault()


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; a date there is left to the back-off."""
    try:
        return min(BACKOFF_MAX_S, max(0.0, float(text))) if text else None
    except ValueError:
        return None


def _why(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__ or error
    return (str(error) or str(cause) or type(error).__name__)[:SAID_CHARS]
