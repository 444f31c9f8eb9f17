"""The API as the command line sees it: one call, one typed answer, one kind of error."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, TypeVar

import httpx2
import msgspec
from msgspec import Struct

from poise.cli.place import Common, address_of, token_of
from poise.model import errors
from poise.model.errors import PoiseError, TimedOut, Unreachable

T = TypeVar("T")
TIMEOUT_S = 30.0
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


class Several(errors.Invalid):
    """A file with several problems, each told."""

    def __init__(self, problems: tuple[PoiseError, ...]) -> None:
        super().__init__(problems[0].code, f"{len(problems)} problems; nothing was applied")
        self.problems = problems


class Client:
    """Calls with the machine's token. Use as a context manager."""

    def __init__(self, common: Common) -> None:
        self.address = address_of(common.folder)
        self._http = httpx2.Client(
            base_url=self.address.url,
            headers={"authorization": f"Bearer {token_of(common.folder)}"},
            timeout=TIMEOUT_S,
            verify=False,
            trust_env=False,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, answer: type[T], **query: Any) -> T:
        """GET, decoded."""
        params = {name: value for name, value in query.items() if value is not None}
        return msgspec.json.decode(self._send("GET", path, params=params).content, type=answer)

    def post(self, path: str, body: Struct | dict[str, Any], answer: type[T]) -> T:
        """POST with a fresh Idempotency-Key, decoded."""
        headers = {"idempotency-key": str(uuid.uuid4()), "content-type": "application/json"}
        sent = self._send("POST", path, content=msgspec.json.encode(body), headers=headers)
        return msgspec.json.decode(sent.content, type=answer)

    def put(self, path: str, body: Struct | dict[str, Any], answer: type[T], if_match: str) -> T:
        """PUT what was read as ``if_match``, decoded."""
        headers = {"if-match": if_match, "content-type": "application/json"}
        sent = self._send("PUT", path, content=msgspec.json.encode(body), headers=headers)
        return msgspec.json.decode(sent.content, type=answer)

    def lines(self, path: str, **query: Any) -> Iterator[tuple[str, str]]:
        """Server-sent events as ``(event, data)`` until the server ends them."""
        with self._http.stream("GET", path, params=query, timeout=None) as answer:
            event = "message"
            for line in answer.iter_lines():
                if not line:
                    event = "message"
                elif line.startswith("event:"):
                    event = line[6:].strip()
                elif line.startswith("data:"):
                    yield event, line[5:].strip()

    def _send(self, method: str, path: str, **how: Any) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, **how)
        except httpx2.TimeoutException as error:
            raise TimedOut(
                "POISE-E801",
                f"no answer in {TIMEOUT_S:.0f} s",
                where=self.address.url,
                mend="Run: poise doctor",
            ) from error
        except httpx2.TransportError as error:
            raise Unreachable(
                "POISE-E703",
                "Poise does not answer",
                where=self.address.url,
                why=str(error),
                mend="Run: poise up",
            ) from error
        if answer.is_success:
            return answer
        raise _error_of(answer)


def _error_of(answer: httpx2.Response) -> PoiseError:
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(why=f"HTTP {answer.status_code}")
    if problem.problems:
        return Several(tuple(_one(each) for each in problem.problems))
    return _one(problem)


def _one(problem: _Problem) -> PoiseError:
    cls = _BY_EXIT_CODE.get(problem.exit_code, PoiseError)
    return cls(problem.code, problem.what, where=problem.where, why=problem.why, mend=problem.mend)
