"""CloudEvents from outside, read from HTTP and checked; CDEvents among them by their required fields.

Any minor version of a known type is taken; what the content must hold is only checked for the version that
the table names, since it differs between versions. An unknown type is taken as it is.
Source: cloudevents/spec v1.0.2, HTTP binding; cdevents/spec v0.5.1, schemas and CloudEvents binding.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from poise.model.errors import Invalid, TooLarge

BATCH_MAX: Final = 1000
DEPTH_MAX: Final = 64
ID_CHARS: Final = 300
SOURCE_CHARS: Final = 500
TYPE_CHARS: Final = 200
OWN_TYPES: Final = "dev.poise."
CDEVENTS: Final = "dev.cdevents."

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
JSON: Final = "application/json"

_ENVIRONMENT: Final = ("environment.id",)
_DEPLOYED: Final = ("environment.id", "artifactId")
KNOWN: Final[dict[str, dict[str, tuple[str, tuple[str, ...]]]]] = {
    "artifact": {
        "deleted": ("0.2", ()), "downloaded": ("0.2", ()), "packaged": ("0.3", ("change.id",)),
        "published": ("0.3", ()), "signed": ("0.3", ("signature",)),
    },
    "branch": {"created": ("0.3", ()), "deleted": ("0.3", ())},
    "build": {"finished": ("0.3", ()), "queued": ("0.3", ()), "started": ("0.3", ())},
    "change": {
        "abandoned": ("0.3", ()), "created": ("0.4", ()), "merged": ("0.3", ()), "reviewed": ("0.3", ()),
        "updated": ("0.3", ()),
    },
    "environment": {"created": ("0.3", ()), "deleted": ("0.3", ()), "modified": ("0.3", ())},
    "incident": {
        "detected": ("0.3", _ENVIRONMENT), "reported": ("0.3", ("environment.id", "ticketURI")),
        "resolved": ("0.3", _ENVIRONMENT),
    },
    "pipelinerun": {
        "finished": ("0.3", ()), "queued": ("0.3", ()), "started": ("0.3", ("pipelineName", "uri")),
    },
    "repository": {"created": ("0.3", ("name", "uri")), "deleted": ("0.3", ()), "modified": ("0.3", ())},
    "service": {
        "deployed": ("0.3", _DEPLOYED), "published": ("0.3", ()), "removed": ("0.3", ()),
        "rolledback": ("0.3", _DEPLOYED), "upgraded": ("0.3", _DEPLOYED),
    },
    "taskrun": {"finished": ("0.3", ()), "started": ("0.3", ())},
    "testcaserun": {
        "finished": ("0.3", ("outcome", "environment.id")), "queued": ("0.3", _ENVIRONMENT),
        "skipped": ("0.2", ()), "started": ("0.3", _ENVIRONMENT),
    },
    "testoutput": {"published": ("0.3", ("outputType", "format"))},
    "testsuiterun": {
        "finished": ("0.3", ("outcome", "environment.id")), "queued": ("0.3", _ENVIRONMENT),
        "started": ("0.3", _ENVIRONMENT),
    },
    "ticket": {
        "closed": ("0.2", ("uri", "resolution")), "created": ("0.2", ("summary", "creator", "uri")),
        "updated": ("0.2", ("uri",)),
    },
}  # fmt: skip
_TYPE: Final = re.compile(r"dev\.cdevents\.([a-z]+)\.([a-z]+)\.(\d{1,5}\.\d{1,5})\.\d{1,5}(?:-[a-z0-9.]+)?")


class Incoming(Struct, frozen=True, kw_only=True):
    """A CloudEvent that was taken in. ``known`` says that it is a CDEvent of a type in the table."""

    id: str
    source: str
    type: str
    at: datetime | None
    subject: str
    known: bool
    data: dict[str, Any]


class Unread(Invalid):
    """What was sent is no CloudEvent, or a known CDEvent that lacks what it must have."""


class NoKind(Unread):
    """The content type is none in which CloudEvents travel."""

    http_status = 415


def read(content_type: str, headers: Mapping[str, str], body: bytes) -> list[Incoming]:
    """The events of a request, in the structured, the binary or the batch form.

    Raises ``Unread`` or ``TooLarge``; all events of a batch are good, or none is taken.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == BATCH:
        said = _decoded(body)
        if not isinstance(said, list):
            raise _unread("the batch", "it is not a list")
        if len(said) > BATCH_MAX:
            raise TooLarge(
                "POISE-E423", f"the batch has {len(said)} events", why=f"The limit is {BATCH_MAX}.",
                mend="Send it in parts.",
            )  # fmt: skip
        return [_event(one, f"event {n} of the batch") for n, one in enumerate(said)]
    if kind == STRUCTURED:
        return [_event(_decoded(body), "the event")]
    if kind == JSON and "ce-specversion" in headers:
        return [_event(_binary(headers, body), "the event")]
    raise NoKind(
        "POISE-E424", "this is no CloudEvent", where=kind[:100],
        mend=f"Send {STRUCTURED}, {BATCH}, or {JSON} with ce- headers.",
    )  # fmt: skip


def _decoded(body: bytes) -> Any:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unread("the body", f"it is not JSON: {str(error)[:100]}") from error
    if _deeper(found, DEPTH_MAX):
        raise _unread("the body", f"it is nested more than {DEPTH_MAX} deep")
    return found


def _deeper(found: Any, left: int) -> bool:
    inner = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return left < 0 or any(_deeper(one, left - 1) for one in inner)


def _binary(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The binary form as the structured one. Header values are percent-encoded."""
    named = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    return {**named, "data": _decoded(body)}


def _event(said: Any, where: str) -> Incoming:
    if not isinstance(said, dict):
        raise _unread(where, "it is not an object")
    if said.get("specversion") != "1.0":
        raise _unread(where, "specversion is not 1.0")
    kind = _text(said, "type", TYPE_CHARS, where)
    if kind.startswith(OWN_TYPES):
        raise _unread(where, f"types that begin with {OWN_TYPES} are Poise's own")
    data = _data(said, where)
    name, source = _text(said, "id", ID_CHARS, where), _text(said, "source", SOURCE_CHARS, where)
    subject = said.get("subject")
    known = _check(kind, name, source, data, where) if kind.startswith(CDEVENTS) else False
    return Incoming(
        id=name,
        source=source,
        type=kind,
        at=_instant(said.get("time"), where),
        subject=subject[:ID_CHARS] if isinstance(subject, str) else "",
        known=known,
        data=data,
    )


def _data(said: dict[str, Any], where: str) -> dict[str, Any]:
    """The data, an object; other JSON and base64 are kept under a name of their own."""
    if "data_base64" in said:
        try:
            data = _decoded(b64decode(said["data_base64"], validate=True))
        except (TypeError, ValueError):
            raise _unread(where, "data_base64 is not base64 of JSON") from None
    else:
        data = said.get("data")
    return data if isinstance(data, dict) else {"value": data}


def _check(kind: str, name: str, source: str, data: dict[str, Any], where: str) -> bool:
    """Whether a CDEvent's type is known; raises when one that is lacks what it must have."""
    match = _TYPE.fullmatch(kind)
    if match is None or match[2] not in KNOWN.get(match[1], {}):
        return False
    context = _part(data, "context", where)
    if not _filled(context.get("specversion")) and not _filled(context.get("version")):
        raise _unread(where, "context.specversion is missing")
    for field, wanted in (("id", name), ("source", source), ("type", kind)):
        if context.get(field) != wanted:
            raise _unread(where, f"context.{field} is not the CloudEvent's {field}")
    if _instant(context.get("timestamp"), where) is None:
        raise _unread(where, "context.timestamp is missing")
    subject = _part(data, "subject", where)
    if not _filled(subject.get("id")):
        raise _unread(where, "subject.id is missing")
    content = _part(subject, "content", where)
    version, required = KNOWN[match[1]][match[2]]
    for path in required if match[3] == version else ():
        if not _filled(_at(content, path)):
            raise _unread(where, f"subject.content.{path} is missing")
    return True


def place_of(event: Incoming) -> tuple[str, str]:
    """(environment, service) that a CDEvent names; empty where it does not."""
    subject = event.data.get("subject")
    content = subject.get("content") if isinstance(subject, dict) else None
    environment = _at(content, "environment.id")
    service = _at(content, "service.id")
    if event.type.startswith(f"{CDEVENTS}service.") and isinstance(subject, dict):
        service = subject.get("id")
    return tuple(  # type: ignore[return-value]
        found.rstrip("/").rpartition("/")[2] if isinstance(found, str) else ""
        for found in (environment, service)
    )


def _at(found: Any, path: str) -> Any:
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _part(found: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    part = found.get(name)
    if not isinstance(part, dict):
        raise _unread(where, f"{name} is missing")
    return part


def _filled(found: Any) -> bool:
    return isinstance(found, str | dict) and bool(found)


def _text(said: dict[str, Any], name: str, most: int, where: str) -> str:
    found = said.get(name)
    if not isinstance(found, str) or not found or len(found) > most or not found.isprintable():
        raise _unread(where, f"{name} is not text of 1 to {most} signs")
    return found


def _instant(found: Any, where: str) -> datetime | None:
    if found is None:
        return None
    try:
        at = datetime.fromisoformat(found)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        raise _unread(where, f"{str(found)[:50]!r} is not an instant") from None


def _unread(where: str, why: str) -> Unread:
    return Unread(
        "POISE-E425", "the event cannot be taken", where=where, why=f"{why}.",
        mend="See https://cdevents.dev for what an event of its type holds; nothing was stored.",
    )  # fmt: skip
