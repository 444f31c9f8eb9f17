"""Secrets in what people read: every known value becomes ``***``.

A value that could not be a word (``is_distinct``) is masked wherever it stands. One that could be
(``storefront``) is masked where people write freely, and left where it may be the name of something, so that
a weak password breaks no page. Values under ``MASKED_FROM`` characters cannot be told from text: not masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

import msgspec
import structlog
from msgspec.structs import replace

from poise.adapters.sealing import Sealer
from poise.model.access import Answer
from poise.model.config import Secret
from poise.model.errors import PoiseError
from poise.model.kinds import BODIES
from poise.model.record import Event, Write
from poise.ports.store import Store, Transaction

log = structlog.get_logger()

MASK: Final = "***"
MASKED_FROM: Final = 4
LINE_FROM: Final = 8  # lines of a value of several lines; a shorter one may be any line
DISTINCT_FROM: Final = 8
SURELY_DISTINCT_FROM: Final = 24
FREE: Final = frozenset(
    {
        "after", "author", "before", "description", "detail", "label", "line", "message", "mend", "note",
        "output", "problem", "reason", "sentence", "summary", "text", "title", "verification", "what",
        "where", "why",
    }
)  # fmt: skip
TOLD: Final = FREE | {
    "branch",
    "labels",
    "numbers",
}  # fields of records that others fill; nothing acts on them
_ACTED_ON: Final = frozenset(
    ("values", "sealed", "marks", "env", "spec", "specs", "steps", "contacts", "inputs")
)
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_-]*|[0-9.]+")


def is_distinct(value: str) -> bool:
    """Whether a value could not be a word, a name or a number that stands in text for other reasons.

    >>> is_distinct("storefront"), is_distinct("hunter2-hunter3")
    (False, True)
    """
    long = len(value) >= SURELY_DISTINCT_FROM
    return long or (len(value) >= DISTINCT_FROM and not _WORD.fullmatch(value))


class Masker:
    """The one place where secrets are known in plain: each version is opened once and kept in memory."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._seen: set[tuple[str, str]] = set()
        self._values: set[str] = set()
        self.everywhere: tuple[str, ...] = ()  # longest first, so that no value uncovers a part of another
        self.free: tuple[str, ...] = ()

    async def learn_all(self, store: Store) -> None:
        """Know every version that is on record."""
        after = ""
        while rows := (await store.scan(Secret, after=after))[0]:
            for secret in rows:
                self.learn(secret)
            after = rows[-1].key

    def learn(self, secret: Secret) -> None:
        """Know the values of a version from now on; one that does not open is told in the log."""
        new = {
            name: sealed
            for name, sealed in secret.sealed.items()
            if (secret.service, sealed) not in self._seen
        }
        for name, sealed in new.items():
            try:
                values = self._sealer.unseal(replace(secret, sealed={name: sealed}))
            except PoiseError as error:
                log.warning("a secret cannot be masked", where=error.where, why=error.why, mend=error.mend)
                continue
            self._seen.add((secret.service, sealed))
            self.add(values.values())

    def add(self, values: Iterable[str]) -> None:
        """Know plain values."""
        for value in values:
            lines = [line.strip() for line in value.splitlines()]
            several = [line for line in lines if len(line) >= LINE_FROM] if len(lines) > 1 else []
            whole = [one for one in (value, value.strip()) if len(one) >= MASKED_FROM]
            self._values.update(several, whole)
        self.free = tuple(sorted(self._values, key=lambda one: (-len(one), one)))
        self.everywhere = tuple(one for one in self.free if is_distinct(one))

    @property
    def longest(self) -> int:
        """Characters of the longest known value; 0 when none is known."""
        return len(self.free[0]) if self.free else 0

    def knows_in(self, text: str) -> bool:
        """Whether a known value stands in ``text``."""
        return any(value in text for value in self.free)

    def text(self, text: str) -> str:
        """Free text without known values."""
        return _without(text, self.free)

    def name(self, text: str) -> str:
        """What may be a name, without the values that could be none."""
        return _without(text, self.everywhere)

    def unfinished(self, text: str) -> str:
        """Free text that goes on: a value that has only begun at its end is masked as well."""
        masked = self.text(text)
        begun = max((_overlap(masked, value) for value in self.free), default=0)
        return masked[:-begun] + MASK if begun >= MASKED_FROM else masked

    def data(self, value: Any, field: str = "") -> Any:
        """Plain data (of JSON) without known values; what a field is called says whether it is free text."""
        match value:
            case str():
                return self.text(value) if field in FREE else self.name(value)
            case dict():
                # what stands under a free field is free as well, whatever it is called
                return {
                    self.name(key): self.data(one, field if field in FREE else key)
                    for key, one in value.items()
                }
            case list() | tuple():
                return [self.data(one, field) for one in value]
        return value

    def told(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        """A processor of structlog: what the server itself logs, traces included, without known values."""
        return {
            field: self.text(value if isinstance(value, str) else str(value))
            if isinstance(value, str | Exception)
            else value
            for field, value in event.items()
        }

    def processors(self) -> list[structlog.typing.Processor]:
        """Those of the server's log. A trace is plain text before it is masked, and without local values.

        To draw one with its values took the loop two seconds, and what was drawn was not masked.
        """
        return [
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.dev.set_exc_info,
            structlog.processors.format_exc_info,
            self.told,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]

    def transaction(self, transaction: Transaction) -> Transaction:
        """What is to be written, without known values where people write freely.

        Settings, specs and everything else that a machine acts on stay as they are. The secrets of the
        transaction itself are known first.
        """
        for write in transaction.writes:
            if isinstance(write.body, Secret):
                self.learn(write.body)
        if not self.free:
            return transaction
        return msgspec.structs.replace(
            transaction,
            writes=tuple(self._write(write) for write in transaction.writes),
            events=tuple(self._event(event) for event in transaction.events),
        )

    def _event(self, event: Event) -> Event:
        return replace(event, summary=self.text(event.summary), data=self.data(event.data))

    def _write(self, write: Write) -> Write:
        if isinstance(write.body, Answer):
            return replace(write, body=replace(write.body, body=self.json(write.body.body)))
        if write.body is None or not self.knows_in(msgspec.json.encode(write.body).decode()):
            return write
        plain = msgspec.to_builtins(write.body)
        masked = msgspec.convert(self._told(plain), BODIES[write.kind])
        return replace(write, body=masked)

    def _told(self, plain: Any) -> Any:
        """As ``data``, but only what people told: names, settings and specs are not touched."""
        match plain:
            case dict():
                return {name: self._told_of(name, one) for name, one in plain.items()}
            case list() | tuple():
                return [self._told(one) for one in plain]
        return plain

    def _told_of(self, field: str, plain: Any) -> Any:
        if field in _ACTED_ON:
            return plain
        return self.data(plain, field) if field in TOLD else self._told(plain)

    def json(self, body: bytes) -> bytes:
        """A JSON document without known values; the same bytes when it has none."""
        if not any(_in_json(value) in body for value in self.free):
            return body
        try:
            return msgspec.json.encode(self.data(msgspec.json.decode(body)))
        except msgspec.DecodeError:
            return self.text(body.decode(errors="replace")).encode()


class Flow:
    """Text that comes in pieces: a value that is split over two of them is masked all the same."""

    def __init__(self, masker: Masker) -> None:
        self._masker, self._kept = masker, ""

    def feed(self, piece: str) -> str:
        """What may be shown now; the last characters wait for what follows."""
        text = self._kept + piece
        cut = max(0, len(text) - max(0, self._masker.longest - 1))
        while (earlier := self._covered_from(text, cut)) < cut:
            cut = earlier
        self._kept = text[cut:]
        return self._masker.text(text[:cut])

    def end(self) -> str:
        """The rest."""
        rest, self._kept = self._masker.text(self._kept), ""
        return rest

    def _covered_from(self, text: str, cut: int) -> int:
        """The start of a value that stands across ``cut``; ``cut`` when none does."""
        starts = (
            text.find(value, max(0, cut - len(value) + 1), cut + len(value) - 1)
            for value in self._masker.free
        )
        return min((start for start in starts if 0 <= start < cut), default=cut)


def _without(text: str, values: tuple[str, ...]) -> str:
    for value in values:
        if value in text:
            text = text.replace(value, MASK)
    return text


def _overlap(text: str, value: str) -> int:
    """How many characters at the end of ``text`` are the beginning of ``value``."""
    most = min(len(value) - 1, len(text))
    return next((n for n in range(most, 0, -1) if text.endswith(value[:n])), 0)


def _in_json(value: str) -> bytes:
    return msgspec.json.encode(value)[1:-1]
