"""Where an alert of Prometheus' kind belongs, how bad it is and what it says, by its labels.

The same rules for what Alertmanager tells and for what rules of a project find.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from msgspec import Struct

from poise.model.incident import Severity

SUMMARY_CHARS: Final = 300
LABELS: Final = 32
NAME_CHARS: Final = 100
VALUE_CHARS: Final = 200
NO_SERVICE: Final = "-"
_SERVICE_LABELS: Final = ("service", "job", "app")
_ENVIRONMENT_LABELS: Final = ("environment", "env")
_SEVERITY: Final = {
    "critical": Severity.SEV1, "page": Severity.SEV1, "warning": Severity.SEV2, "error": Severity.SEV2,
}  # fmt: skip


class Place(Struct, frozen=True, kw_only=True):
    """What a project has: environments in order, and the declared services as ``environment/service``."""

    project: str
    environments: tuple[str, ...]
    services: Collection[str]


def service_of(labels: Mapping[str, str], place: Place) -> str:
    """``project/environment/service`` by the labels; ``-`` for a service that they do not tell."""
    named = next((labels[name] for name in _ENVIRONMENT_LABELS if labels.get(name)), "")
    environment = named if named in place.environments else place.environments[-1]
    for name in _SERVICE_LABELS:
        if f"{environment}/{labels.get(name, '')}" in place.services:
            return f"{place.project}/{environment}/{labels[name]}"
    return f"{place.project}/{environment}/{NO_SERVICE}"


def severity_of(labels: Mapping[str, str]) -> Severity:
    """By the label ``severity``: critical and page are SEV1, warning and error SEV2, the rest SEV3."""
    return _SEVERITY.get(labels.get("severity", "").lower(), Severity.SEV3)


def summary_of(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    """One line: the summary, else the description, else the alert's name."""
    for found in (annotations.get("summary"), annotations.get("description")):
        if said := plain(found or "", SUMMARY_CHARS):
            return said
    return plain(labels.get("alertname", ""), SUMMARY_CHARS) or "An alert without a name."


def bounded(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels as they are kept."""
    kept = sorted(labels.items())[:LABELS]
    return {plain(name, NAME_CHARS): plain(value, VALUE_CHARS) for name, value in kept}


def plain(text: Any, most: int) -> str:
    """Text of others: bounded, on one line, without control signs."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)[:most]).split())
