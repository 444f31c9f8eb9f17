"""Metrics as Prometheus' text format 0.0.4."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from poise.model.samples import NAME, Labels, Metadata

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Family(Struct, frozen=True, kw_only=True):
    """A metric family with its samples; labels without ``__name__`` take the family's."""

    about: Metadata
    samples: tuple[tuple[Labels, float], ...]


def written(families: Iterable[Family]) -> str:
    """The page. A family without samples is left out."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        name = family.about.name
        lines.append(f"# HELP {name} {_escaped(family.about.help, quotes=False)}")
        lines.append(f"# TYPE {name} {family.about.kind.value}")
        lines += [f"{_series(name, labels)} {_number(value)}" for labels, value in family.samples]
    return "".join(f"{line}\n" for line in lines)


def _series(name: str, labels: Labels) -> str:
    pairs = [f'{key}="{_escaped(value)}"' for key, value in labels if key != NAME]
    return f"{dict(labels).get(NAME, name)}{{{','.join(pairs)}}}" if pairs else dict(labels).get(NAME, name)


def _escaped(text: str, *, quotes: bool = True) -> str:
    made = text.replace("\\", "\\\\").replace("\n", "\\n")
    return made.replace('"', '\\"') if quotes else made


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value)) if value != int(value) else str(int(value))


__all__: Sequence[str] = ("CONTENT_TYPE", "Family", "written")
