"""What the story tells: the report's records, and the live view on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from msgspec import Struct
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

STAGES = (
    "deliver", "observe", "promote", "protect", "heal", "scale", "respond", "review", "balance", "improve",
    "audit",
)  # fmt: skip
REFRESH_PER_S = 4


class Stage(Struct, kw_only=True):
    """One stage: what was measured from outside, and whether it is what was promised."""

    name: str
    ok: bool = False
    took_s: float = 0.0
    facts: dict[str, Any] = {}


class Report(Struct, kw_only=True):
    """The whole demo; ``stages`` holds those that were begun."""

    ok: bool
    total_s: float
    stages: list[Stage]


class Failed(Exception):
    """A stage did not show what it promised; the text says what it showed."""


class View:
    """Stages as they go. A table that redraws on a terminal; else one line when a stage begins or ends."""

    def __init__(self, quiet: bool) -> None:
        self._console = Console(stderr=True, highlight=False, quiet=quiet)
        self._redraws = sys.stderr.isatty() and not quiet
        self._stages: dict[str, Stage] = {}
        self._doing = ""
        self._began_s = time.monotonic()
        self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=REFRESH_PER_S)

    def __enter__(self) -> Self:
        if self._redraws:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._redraws:
            self._doing = ""
            self._live.stop()

    def say(self, text: str) -> None:
        """A line above the table."""
        self._console.print(escape(text), soft_wrap=True)

    def doing(self, text: str) -> None:
        """What the present stage is at."""
        if text != self._doing:
            self._doing = text
            if not self._redraws and text:
                self._console.print(f"    {escape(text)}", soft_wrap=True)

    def begin(self, stage: Stage) -> None:
        """A stage begins."""
        self._stages[stage.name] = stage
        self._began_s = time.monotonic()
        if not self._redraws:
            self._console.print(f"{stage.name} ...", soft_wrap=True)

    def end(self, stage: Stage) -> None:
        """A stage has ended; its facts are final."""
        self._doing = ""
        if not self._redraws:
            word = "ok" if stage.ok else "FAILED"
            line = f"{stage.name} {word} in {stage.took_s:.1f} s: {told(stage.facts)}"
            self._console.print(escape(line), soft_wrap=True)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        for name in STAGES:
            stage = self._stages.get(name)
            if stage is None:
                table.add_row(Text("·", "dim"), Text(name, "dim"), "", "")
            elif not stage.took_s:
                spent = f"{time.monotonic() - self._began_s:.0f} s"
                table.add_row(Text("▸", "bold yellow"), Text(name, "bold"), spent, Text(self._doing, "dim"))
            else:
                mark = Text("✔ ok", "green") if stage.ok else Text("✘ failed", "bold red")
                table.add_row(mark, name, f"{stage.took_s:.1f} s", Text(told(stage.facts)))
        return table


def told(facts: dict[str, Any]) -> str:
    """Facts as a person reads them, in one paragraph."""
    return ", ".join(f"{name} {_said(value)}" for name, value in facts.items())


def _said(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case str() if value.startswith("sha256:"):
            return value[:19]
        case dict():
            return "{" + told(value) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_said, value)) + "]"
        case _:
            return str(value)
