"""The API as the command line sees it: one call, one typed answer, one kind of error."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from poise.cli.place import Common, address_of, token_of
from poise.model import errors
from poise.model.errors import PoiseError, TimedOut, Unreachable

T = TypeVar("T")
_BY_EXIT_CODE = {
    cls.exit_code: cls
    for cls in (errors.Invalid, errors.NotFound, errors.Conflict, errors.Held, Unreachable, TimedOut)
}


class _Problem(Struct, frozen=True, kw_only=True):
    code: str = "POISE-E500"
    what: str = "the server refused"
    where: str = ""
    why: str = ""
    mend: str = ""
    exit_code: int = 1
    problems: tuple[_Problem, ...] = ()


class _Refusal(Struct, frozen=True):
    """An error as Prometheus' API tells it: our code first, then the sentence."""

    errorType: str
    error: str


class Several(errors.Invalid):
    """A file with several problems, each told."""

    def __init__(self, problems: tuple[PoiseError, ...]) -> None:
        super().__init__(problems[0].code, f"{len(problems)} problems; nothing was applied")
        self.problems = problems


class Client:
    """Calls with the machine's token. Use as a context manager.

    The standard library's client: a richer one would take half of the time that a command may take.
    """

    patience_s: ClassVar[float] = 30.0

    def __init__(self, common: Common) -> None:
        self.address = address_of(common.folder)
        self._token = token_of(common.folder)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is kept open between calls."""

    def get(self, path: str, answer: type[T], **query: Any) -> T:
        """GET, decoded."""
        return msgspec.json.decode(self._send("GET", path + _query(query)), type=answer)

    def text(self, path: str, **query: Any) -> tuple[str, str]:
        """GET of a text as it is, and its ETag."""
        with self._asked("GET", path + _query(query)) as answer:
            return answer.read().decode(), answer.headers.get("etag", "")

    def post(self, path: str, body: Struct | dict[str, Any], answer: type[T]) -> T:
        """POST with a fresh Idempotency-Key, decoded."""
        headers = {"idempotency-key": str(uuid.uuid4()), "content-type": "application/json"}
        return msgspec.json.decode(self._send("POST", path, body, headers), type=answer)

    def put(self, path: str, body: Struct | dict[str, Any], answer: type[T], if_match: str) -> T:
        """PUT what was read as ``if_match``, decoded."""
        headers = {"if-match": if_match, "content-type": "application/json"}
        return msgspec.json.decode(self._send("PUT", path, body, headers), type=answer)

    def delete(self, path: str, answer: type[T], **query: Any) -> T:
        """DELETE, decoded."""
        return msgspec.json.decode(self._send("DELETE", path + _query(query)), type=answer)

    def lines(self, path: str, **query: Any) -> Iterator[tuple[str, str]]:
        """Server-sent events as ``(event, data)`` until the server ends them."""
        with self._asked("GET", path + _query(query), endless=True) as answer:
            event = "message"
            for raw in answer:
                line = raw.decode().rstrip("\r\n")
                if not line:
                    event = "message"
                elif line.startswith("event:"):
                    event = line[6:].strip()
                elif line.startswith("data:"):
                    yield event, line[5:].strip()

    def _send(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        with self._asked(method, path, body, headers) as answer:
            return answer.read()

    @contextmanager
    def _asked(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        endless: bool = False,
    ) -> Iterator[HTTPResponse]:
        host = urlsplit(self.address.url).netloc
        sent = {"authorization": f"Bearer {self._token}", **(headers or {})}
        content = None if body is None else msgspec.json.encode(body)
        try:
            with closing(HTTPConnection(host, timeout=None if endless else self.patience_s)) as connection:
                connection.request(method, quote(path, safe="/?&=%+"), content, sent)
                answer = connection.getresponse()
                if not 200 <= answer.status < 300:
                    raise _error_of(answer.status, answer.read())
                yield answer
        except PoiseError:
            raise
        except TimeoutError as error:
            raise TimedOut(
                "POISE-E801",
                f"no answer in {self.patience_s:g} s",
                where=self.address.url,
                mend="Run: poise doctor",
            ) from error
        except (OSError, HTTPException) as error:
            raise Unreachable(
                "POISE-E703",
                "Poise does not answer",
                where=self.address.url,
                why=str(error),
                mend="Run: poise up",
            ) from error


def _query(query: dict[str, Any]) -> str:
    given = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }
    return f"?{urlencode(given)}" if given else ""


def _error_of(status: int, content: bytes) -> PoiseError:
    with suppress(msgspec.DecodeError):
        return _of_query(msgspec.json.decode(content, type=_Refusal))
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(why=f"HTTP {status}")
    if problem.problems:
        return Several(tuple(_one(each) for each in problem.problems))
    return _one(problem)


def _of_query(refusal: _Refusal) -> PoiseError:
    code, _, what = refusal.error.partition(" ")
    kind = {
        "timeout": TimedOut, "canceled": TimedOut, "unavailable": Unreachable, "not_found": errors.NotFound,
        "bad_data": errors.Invalid, "execution": errors.Invalid,
    }.get(refusal.errorType, PoiseError)  # fmt: skip
    return kind(code, what.removesuffix("."))


def _one(problem: _Problem) -> PoiseError:
    cls = _BY_EXIT_CODE.get(problem.exit_code, PoiseError)
    return cls(problem.code, problem.what, where=problem.where, why=problem.why, mend=problem.mend)


def answers(url: str, timeout_s: float = 2.0) -> bool:
    """Whether the server at ``url`` is ready."""
    try:
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=timeout_s)) as connection:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
