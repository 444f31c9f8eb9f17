"""What is in force for a service, in the words of the file: every key, its value, and whence it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from poise.model.objective import IndicatorKind, Objective
from poise.model.period import name
from poise.model.policy import BudgetPolicy, ClassRule, Condition, PlanItem
from poise.model.service import JudgedBy, Previews, Service
from poise.spec.durations import format_duration, format_size
from poise.spec.environments import DEFAULT_ENVIRONMENT, default_hostname
from poise.spec.explain_objective import measures
from poise.spec.keys_policy import POLICY
from poise.spec.keys_previews import PREVIEWS
from poise.spec.keys_service import SERVICE
from poise.spec.previews import shows
from poise.spec.shape import Duration, Ratio, Record, Shape, Short, Size

Source = Literal["declared", "default"]
NO_PREVIEWS = Previews()


def explain(
    service: Service, objectives: Sequence[Objective], policy: BudgetPolicy, previews: Previews = NO_PREVIEWS
) -> list[tuple[str, str, Source]]:
    """Rows ``(field, value, source)`` in the order of the file's documentation.

    A value that equals the built-in default is ``default``, whether or not it was written out.
    Objectives of other services are left out.
    """
    own_hosts = (default_hostname(service.name, service.environment, last) for last in (False, True))
    bare = Service(
        project=service.project,
        environment=DEFAULT_ENVIRONMENT,
        name=service.name,
        command="",
        hostname=service.hostname if service.hostname in (None, *own_hosts) else "",
    )
    rows = [("environment", service.environment, _source(service.environment, bare.environment))]
    rows += _rows(SERVICE, service, bare, "")
    for objective in objectives:
        if objective.service == service.key:
            source: Source = "default" if objective.source == "default" else "declared"
            rows.append((f"objectives.{objective.name}", _sentence(objective), source))
    rows += _rows(POLICY, policy, BudgetPolicy(), "policy.")
    if shows(previews, service):
        rows += _rows(PREVIEWS, _spelt(previews), _spelt(NO_PREVIEWS), "previews.")
    return rows


def _spelt(previews: Previews) -> Previews:
    """To name no service is to name every one that can be looked at."""
    return replace(previews, services=previews.services or ("every service with a port",))


def _rows(record: Record, value: Struct, bare: Struct, prefix: str) -> Iterator[tuple[str, str, Source]]:
    for field in record.fields:
        inner = field.shape.record if isinstance(field.shape, Short) else field.shape
        if not field.target and isinstance(inner, Record):
            yield from _rows(inner, value, bare, f"{prefix}{field.key}.")
        elif field.target in value.__struct_fields__:
            own, default = getattr(value, field.target), getattr(bare, field.target)
            if isinstance(inner, Record):
                yield from _rows(inner, own, default, f"{prefix}{field.key}.")
            else:
                yield f"{prefix}{field.key}", _text(inner, own), _source(own, default)


def _source(value: object, default: object) -> Source:
    return "default" if value == default else "declared"


def _text(shape: Shape, value: object) -> str:
    """The value as one would write it in the file; ``none`` where there is nothing."""
    match value:
        case None | ():
            return "none"
        case dict() if not value:  # a pattern {} would take every mapping
            return "none"
        case float() | int() if isinstance(shape, Duration):
            return format_duration(value * shape.unit_s)
        case int() if isinstance(shape, Size):
            return format_size(value)
        case float() | int() if isinstance(shape, Ratio):
            return f"{value * 100:.6g}%"
        case float():
            return f"{value:g}"
        case dict():
            return ", ".join(f"{name}={inner}" for name, inner in value.items())
        case tuple():
            return ", ".join(_item(inner) for inner in value)
        case _:
            return str(value)


def _item(value: object) -> str:
    """An item of a list; a burn tier reads ``14.4x over 1h and 5m``."""
    long_s, short_s = getattr(value, "long_s", None), getattr(value, "short_s", None)
    if isinstance(long_s, float) and isinstance(short_s, float):
        factor = getattr(value, "factor", 0.0)
        return f"{factor:g}x over {format_duration(long_s)} and {format_duration(short_s)}"
    if isinstance(value, JudgedBy):
        return f"{value.objective} by label {value.label}"
    match value:
        case Condition():
            return f"{value.name}: at most {value.level} while {value.when}"
        case ClassRule():
            return f"{value.change_class} by {', '.join((*value.paths, *value.labels))}"
        case PlanItem():
            return f"{value.outage_class} in {value.quarter}: {value.item}"
    return str(value)


def _sentence(objective: Objective) -> str:
    target = f"{objective.target_ratio * 100:.6g}%"
    if objective.indicator in (IndicatorKind.AVAILABILITY, IndicatorKind.LATENCY):
        under = f" under {objective.threshold_ms:g} ms" if objective.threshold_ms is not None else ""
        return f"{target} {objective.indicator.value}{under} over {name(objective.window)}"
    return f"{target} of {measures(objective)} over {name(objective.window)}"
