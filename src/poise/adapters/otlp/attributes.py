"""Attributes and resources of OTLP as plain records, each within its limits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from poise.adapters.otlp.names import plain
from poise.model.intake import Fault, Faults, Faulty
from poise.model.telemetry import SECOND_NS, Attributes, Scalar

Made = TypeVar("Made")
UNKNOWN_SERVICE: Final = "unknown_service"  # Source: OpenTelemetry's semantic conventions, service.name
_ENVIRONMENTS: Final = ("deployment.environment.name", "deployment.environment")


class TelemetryLimits(Struct, frozen=True, kw_only=True):
    """What one span, one log record and one body may hold. The longer is cut, the rest left out."""

    items: int = 200_000  # spans or log records in one body
    attributes: int = 128
    name_chars: int = 1_024
    value_chars: int = 4_096
    log_chars: int = 32_768  # of a log record's body
    events: int = 128  # of a span, and as many links
    future_s: float = 600.0  # an instant may be ahead by


@dataclass
class Found:
    """What one body gave: faults of what is left out, warnings of what is kept otherwise than it was sent."""

    limits: TelemetryLimits
    now_ns: int
    oldest_ns: int
    faults: Faults = field(default_factory=Faults)
    warned: Counter[str] = field(default_factory=Counter)

    @property
    def newest_ns(self) -> int:
        """The last instant that is believed."""
        return self.now_ns + int(self.limits.future_s * SECOND_NS)

    def cut(self, text: str, at_most: int) -> str:
        """A text of at most so many characters."""
        if len(text) <= at_most:
            return text
        self.warned["cut"] += 1
        return text[:at_most]

    def attributes(self, listed: Iterable[Any]) -> Attributes:
        """Attributes by name; a name that comes twice keeps its last value."""
        made: Attributes = {}
        for one in listed:
            if len(made) >= self.limits.attributes and one.key not in made:
                self.warned["attributes-left-out"] += 1
                continue
            made[self.cut(one.key, self.limits.name_chars)] = self._scalar(one.value)
        return made

    def named(self) -> tuple[Fault, ...]:
        """The first faults in full."""
        return tuple(self.faults.named)

    def _scalar(self, value: Any) -> Scalar:
        kind = value.WhichOneof("value")
        match kind:
            case "string_value":
                return self.cut(value.string_value, self.limits.value_chars)
            case "int_value" | "bool_value":
                found: int | bool = getattr(value, kind)
                return found
            case "double_value":
                number = float(value.double_value)
                return number if math.isfinite(number) else str(number)
            case None:
                return ""
            case _:
                text = msgspec.json.encode(plain(value)).decode()
                return self.cut(text, self.limits.value_chars)


def walked(
    resources: Iterable[Any], scopes: str, items: str, found: Found, make: Callable[..., Made]
) -> list[Made]:
    """What ``make(item, resource's attributes, scope's name, found)`` made of each item of a request.

    ``scopes`` and ``items`` are the fields that hold them. What ``make`` raises ``Faulty`` for, and what is
    more than the limit, is left out and named among the faults of ``found``.
    """
    made: list[Made] = []
    for group in resources:
        resource = found.attributes(group.resource.attributes)
        for scoped in getattr(group, scopes):
            scope = found.cut(scoped.scope.name, found.limits.name_chars)
            for one in getattr(scoped, items):
                try:
                    if len(made) >= found.limits.items:
                        what = items.removeprefix("log_")
                        raise Faulty("too-many", f"more than {found.limits.items} {what} in one request")
                    made.append(make(one, resource, scope, found))
                except Faulty as fault:
                    found.faults.add(fault.kind, fault.what)
    return made


def service_of(resource: Attributes) -> tuple[str, str]:
    """(service, environment) that a resource names."""
    environment = next((resource[name] for name in _ENVIRONMENTS if name in resource), "")
    return str(resource.get("service.name") or UNKNOWN_SERVICE), str(environment)


def body_of(value: Any, found: Found) -> str:
    """A log record's body as text; lists and maps as JSON."""
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    text = value.string_value if kind == "string_value" else msgspec.json.encode(plain(value)).decode()
    return found.cut(text, found.limits.log_chars)
