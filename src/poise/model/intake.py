"""What a decoder made of what somebody sent: readings, and the faults of what it had to leave out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from poise.model.samples import NAME, Labels, Metadata, Reading

NAMED: Final = 20  # faults told one by one; the rest of a kind are only counted


class IntakeLimits(Struct, frozen=True, kw_only=True):
    """What one series, one line and one body may hold before it is left out."""

    labels: int = 64  # per series, the name included
    name_chars: int = 256  # of a label's name, and of a metric's
    value_chars: int = 4096  # of a label's value
    line_bytes: int = 65_536
    body_bytes: int = 67_108_864  # after decompression
    series: int = 1_000_000  # in one body
    lines: int = 2_000_000  # of one page of text


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that could not be taken, and where it stands (1-based; 0: nowhere in particular)."""

    kind: str
    what: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line else ""
        return f"{place}{self.what}"


class Faulty(Exception):
    """Raised inside a decoder for one line, series or point; it never leaves it."""

    def __init__(self, kind: str, what: str, column: int = 1) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.column = column


@dataclass
class Faults:
    """Faults as they are found: the first ``NAMED`` in full, all of them counted by kind."""

    named: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, what: str, *, line: int = 0, column: int = 0, count: int = 1) -> None:
        """One fault, which stands for ``count`` samples or lines."""
        self.counts[kind] += count
        if len(self.named) < NAMED:
            self.named.append(Fault(kind=kind, what=what, line=line, column=column))

    @property
    def total(self) -> int:
        """Samples or lines that were left out."""
        return self.counts.total()


class Intake(Struct, frozen=True, eq=False, kw_only=True):
    """What one body held: what can be appended, what it says of itself, and what was left out."""

    readings: tuple[Reading, ...]
    metadata: tuple[Metadata, ...] = ()
    faults: tuple[Fault, ...] = ()
    counts: dict[str, int]  # what was left out, by kind of fault
    samples: int = 0  # taken

    @property
    def rejected(self) -> int:
        """Samples or lines that were left out."""
        return sum(self.counts.values())


def check_labels(labels: Labels, limits: IntakeLimits) -> None:
    """Raise ``Faulty`` (``label-limit``) past a limit."""
    if len(labels) > limits.labels:
        raise Faulty("label-limit", f"{len(labels)} labels; at most {limits.labels} are taken")
    for name, value in labels:
        if len(name) > limits.name_chars or (name == NAME and len(value) > limits.name_chars):
            shown = (value if name == NAME else name)[:40]
            raise Faulty("label-limit", f"the name {shown!r}... is longer than {limits.name_chars}")
        if len(value) > limits.value_chars:
            raise Faulty("label-limit", f"the value of {name[:40]!r} is longer than {limits.value_chars}")
