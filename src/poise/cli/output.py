"""Data on stdout, talk on stderr; NO_COLOR and pipes get plain text."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from textwrap import wrap
from typing import Any

import msgspec

from poise.cli.place import Common
from poise.model.errors import PoiseError

WIDTH = 80  # where the terminal does not say
STYLES = {"go": "green", "slow": "yellow", "hold": "red", "unknown": "magenta"}


def talk(common: Common, *sentences: str) -> None:
    """Say something to the person, not to the pipe."""
    if not common.quiet:
        for sentence in sentences:
            print(sentence, file=sys.stderr)


def progress(common: Common, doing: str) -> Callable[[float], None]:
    """Tells of a share done on stderr, in place on a terminal; what is quick says nothing."""
    live = sys.stderr.isatty()
    every_s = 0.2 if live else 5.0
    told_s, said = time.monotonic(), False

    def tell(share: float) -> None:
        nonlocal told_s, said
        now_s, ends = time.monotonic(), share >= 1.0 and said
        if common.quiet or not (ends or (share < 1.0 and now_s - told_s >= every_s)):
            return
        told_s, said = now_s, not ends
        text = f"\r{doing}: {share:4.0%}" if live else f"{doing}: {share:.0%}\n"
        sys.stderr.write(text + ("\n" if live and ends else ""))
        sys.stderr.flush()

    return tell


def data(record: Any) -> None:
    """A record as one line of JSON on stdout."""
    sys.stdout.write(msgspec.json.encode(record).decode() + "\n")


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns on stdout, aligned; widths follow the content, not the terminal, when piped."""
    if not sys.stdout.isatty():
        return _plain([tuple(headers), *(tuple(row) for row in rows)])
    from rich.console import Console
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for header in headers:
        made.add_column(header, overflow="fold")
    for row in rows:
        made.add_row(*(f"[{STYLES[cell]}]{cell}[/]" if cell in STYLES else _escape(cell) for cell in row))
    Console(highlight=False).print(made)
    return None


def _plain(rows: Sequence[Sequence[str]]) -> None:
    """For a pipe: no colour, no wrapping, and nothing to load."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip())


def say(sentence: str) -> None:
    """A plain sentence as a command's answer, on stdout."""
    sys.stdout.write(sentence + "\n")


def wrapped(text: str, margin: str) -> None:
    """A text on stdout, broken at the terminal's width."""
    for line in wrap(text, width(), initial_indent=margin, subsequent_indent=margin):
        say(line)


def width() -> int:
    """Of the terminal, in characters."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def complain(error: PoiseError, *, as_json: bool) -> None:
    """An error in its four parts on stderr, the last a thing to paste."""
    for one in getattr(error, "problems", ()) or (error,):
        if as_json:
            parts = {name: getattr(one, name) for name in ("code", "what", "where", "why", "mend")}
            print(msgspec.json.encode(parts).decode(), file=sys.stderr)
            continue
        place = f" ({one.where})" if one.where else ""
        print(f"{one.code} {one.what}{place}", file=sys.stderr)
        for part in (one.why, one.mend):
            if part:
                print(f"  {part}", file=sys.stderr)


def percent(ratio: float | None, digits: int = 1) -> str:
    """A ratio as a percentage; a dash where nothing was measured."""
    return "–" if ratio is None else f"{100 * ratio:.{digits}f} %"


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
