"""The pages of one target, one after another: series that were there before are read fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

import numpy as np
from msgspec import Struct

from poise.adapters.exposition.line import DIGITS, Declared, instant, number, read_declared, read_line
from poise.model.errors import Invalid, TooLarge
from poise.model.intake import Fault, Faults, Faulty, IntakeLimits
from poise.model.samples import Labels, Metadata, MetricKind, Reading

Transform = Callable[[Labels], Labels | None]

OPENMETRICS: Final = "application/openmetrics-text"
REFUSED: Final = ("application/vnd.google.protobuf", "application/x-protobuf")
_SPARE: Final = 1000  # series texts remembered beyond those of the page
_UNKNOWN: Final = object()


class Read(Struct, frozen=True, eq=False, kw_only=True):
    """One page. ``current`` are its samples of the page's own moment, ``timed`` those with timestamps.

    ``series_gone`` were in the current reading before and are not now (candidates for a stale marker).
    """

    current: Reading
    timed: tuple[Reading, ...] = ()
    metadata: tuple[Metadata, ...] = ()
    faults: tuple[Fault, ...] = ()  # the first of them; all are counted
    counts: dict[str, int]  # lines left out, by kind of fault
    scraped: int  # samples on the page
    kept: int  # samples after the transform
    series_added: int  # series texts that the page before did not have
    series_gone: tuple[Labels, ...] = ()

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All that can be appended."""
        return ((self.current,) if self.current.series else ()) + self.timed


class _Template(Struct, frozen=True, eq=False):
    """A faultless page: what the next must have as well to be read in one go."""

    heads: list[bytes]
    openmetrics: bool
    fixed: tuple[bytes, ...]  # comments and blank lines
    fixed_of: Callable[[list[bytes]], tuple[bytes, ...]]
    picks: Any  # itemgetter of the samples that are kept
    kept: int
    scraped: int


@dataclass
class _Page:
    """A page under way."""

    now_ms: int
    openmetrics: bool
    faults: Faults = field(default_factory=Faults)
    heads: list[bytes] = field(default_factory=list)
    fixed: list[int] = field(default_factory=list)
    picks: list[int] = field(default_factory=list)
    series: list[Labels] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    taken: set[Labels] = field(default_factory=set)
    timed: dict[int, dict[Labels, float]] = field(default_factory=dict)
    declared: list[Declared] = field(default_factory=list)
    scraped: int = 0
    added: int = 0
    ended: bool = False
    odd: bool = False  # a line ends with something other than its value


class Exposition:
    """Reads a target's pages. Not for two threads at once.

    ``transform`` is applied once to each new series (relabelling); None leaves the series out. Without
    ``honor_timestamps`` every sample is of the page's moment. With ``ends`` a last line without its end is
    left out (OpenMetrics always): half a number is a wrong number.
    """

    def __init__(
        self,
        target: str,
        limits: IntakeLimits | None = None,
        transform: Transform | None = None,
        *,
        honor_timestamps: bool = True,
        ends: bool = False,
    ) -> None:
        self._target = target
        self._limits = limits or IntakeLimits()
        self._transform = transform
        self._honor, self._ends = honor_timestamps, ends
        self._known: dict[bytes, Labels | None] = {}
        self._said: dict[bytes, Declared | None] = {}
        self._template: _Template | None = None
        self._series: tuple[Labels, ...] = ()
        self._metadata: tuple[Metadata, ...] = ()

    def read(self, text: bytes, content_type: str, now_ms: int) -> Read:
        """One page, taken at ``now_ms``. Raises ``TooLarge``, and ``Invalid`` for what is not text."""
        media = content_type.partition(";")[0].strip().lower()
        if media in REFUSED:
            raise Invalid(
                "POISE-M101", f"{media} is not read", where=self._target,
                mend="Ask for text: Accept: application/openmetrics-text, text/plain;version=0.0.4",
            )  # fmt: skip
        if len(text) > self._limits.body_bytes:
            raise TooLarge(
                "POISE-M102", f"a page of {len(text)} bytes", where=self._target,
                why=f"At most {self._limits.body_bytes} are read.",
            )  # fmt: skip
        count = text.count(b"\n")
        if count > self._limits.lines:
            raise TooLarge(
                "POISE-M103", f"a page of {count} lines", where=self._target,
                why=f"At most {self._limits.lines} are read.", mend="Expose less.",
            )  # fmt: skip
        openmetrics = media == OPENMETRICS
        lines = text.split(b"\n")
        return self._again(lines, now_ms, openmetrics) or self._anew(lines, now_ms, openmetrics)

    def _again(self, lines: list[bytes], now_ms: int, openmetrics: bool) -> Read | None:
        """The page, if it has the very series and comments of the one before."""
        last = self._template
        if last is None or len(lines) != len(last.heads) or openmetrics != last.openmetrics:
            return None
        parted = [line.rpartition(b" ") for line in lines]
        if [one[0] for one in parted] != last.heads or last.fixed_of(lines) != last.fixed:
            return None
        tails = last.picks([one[2] for one in parted])
        if b"".join(tails).translate(None, DIGITS):
            return None
        try:
            values = np.fromiter(map(float, tails), np.float64, last.kept)
        except ValueError:
            return None
        values[np.isnan(values)] = np.nan
        return Read(
            current=self._reading(self._series, values, now_ms),
            metadata=self._metadata,
            counts={},
            scraped=last.scraped,
            kept=last.kept,
            series_added=0,
        )

    def _anew(self, lines: list[bytes], now_ms: int, openmetrics: bool) -> Read:
        page = _Page(now_ms, openmetrics)
        if openmetrics or self._ends:
            lines = _whole(lines, page.faults)
        known = self._known
        for place, line in enumerate(lines):
            head, _, tail = line.rpartition(b" ")
            page.heads.append(head)
            labels = known.get(head, _UNKNOWN)
            if labels is _UNKNOWN:
                self._slow(page, place, line)
                continue
            try:
                value = number(tail)
            except Faulty:
                self._slow(
                    page, place, line
                )  # the strict reader says what is wrong, or knows a tab for a space
                continue
            _take(page, place, labels, value, None)  # type: ignore[arg-type]
        return self._made(page, lines)

    def _slow(self, page: _Page, place: int, line: bytes) -> None:
        """A line whose series text is new, or that has more than a series and a value."""
        stripped = line.lstrip(b" \t")
        try:
            if not stripped:
                page.fixed.append(place)
                return
            if stripped.startswith(b"#"):
                self._comment(page, place, line)
                return
            if page.ended:
                raise Faulty("eof", "there is more after # EOF")
            if not self._timed(page, place, line):
                self._sample(page, place, line)
        except Faulty as fault:
            page.faults.add(fault.kind, fault.what, line=place + 1, column=fault.column)

    def _timed(self, page: _Page, place: int, line: bytes) -> bool:
        """A known series with a value and a timestamp."""
        head, _, stamp = line.rpartition(b" ")
        head, _, tail = head.rpartition(b" ")
        labels = self._known.get(head, _UNKNOWN)
        if labels is _UNKNOWN:
            return False
        try:
            at_ms = instant(stamp.decode("latin-1"), page.openmetrics)
            value = number(tail)
        except Faulty:
            return False  # the strict reader says what is wrong with it
        page.odd = True
        _take(page, place, labels, value, at_ms if self._honor else None)  # type: ignore[arg-type]
        return True

    def _sample(self, page: _Page, place: int, line: bytes) -> None:
        if len(line) > self._limits.line_bytes:
            raise Faulty(
                "line-limit", f"a line of {len(line)} bytes; at most {self._limits.line_bytes} are read"
            )
        text = _decoded(line)
        read = read_line(text, page.openmetrics, self._limits)
        labels = self._transform(read.labels) if self._transform else read.labels
        head = text[: read.ends_at].encode()
        page.added += head not in self._known
        self._known[head] = labels  # it is met again the fast way, unless it is written oddly again
        page.odd = page.odd or b" " in line[len(head) :].lstrip(b" ")
        if len(page.series) >= self._limits.series:
            raise Faulty("series-limit", f"more than {self._limits.series} series on one page")
        _take(page, place, labels, read.value, read.at_ms if self._honor else None)

    def _comment(self, page: _Page, place: int, line: bytes) -> None:
        page.fixed.append(place)
        if page.openmetrics and line.rstrip(b"\r") == b"# EOF":
            page.ended = True
            return
        if len(line) > self._limits.line_bytes:
            raise Faulty(
                "line-limit", f"a line of {len(line)} bytes; at most {self._limits.line_bytes} are read"
            )
        said = self._said.get(line, _UNKNOWN)
        if said is _UNKNOWN:
            said = self._said[line] = read_declared(_decoded(line).strip(), self._limits)
        if said is not None:
            page.declared.append(said)  # type: ignore[arg-type]

    def _made(self, page: _Page, lines: list[bytes]) -> Read:
        if page.openmetrics and not page.ended:
            page.faults.add("eof", "the page does not end with # EOF", line=len(lines), column=1)
        before = self._series
        series = tuple(page.series)
        if series != before:
            self._series = series
        gone = () if series == before else tuple(one for one in before if one not in page.taken)
        metadata = _metadata(page.declared)
        if metadata != self._metadata:
            self._metadata = metadata
        self._template = _template(page, lines)
        self._forget(page, lines)
        values = np.array(page.values, np.float64)
        return Read(
            current=self._reading(self._series, values, page.now_ms),
            timed=self._timed_readings(page),
            metadata=self._metadata,
            faults=tuple(page.faults.named),
            counts=dict(page.faults.counts),
            scraped=page.scraped,
            kept=len(series) + sum(len(one) for one in page.timed.values()),
            series_added=page.added,
            series_gone=gone,
        )

    def _timed_readings(self, page: _Page) -> tuple[Reading, ...]:
        made: list[Reading] = []
        series: tuple[Labels, ...] = ()
        for at_ms, found in sorted(page.timed.items()):
            fresh = tuple(found)
            series = series if fresh == series else fresh  # known again by identity
            made.append(self._reading(series, np.array(list(found.values()), np.float64), at_ms))
        return tuple(made)

    def _reading(self, series: tuple[Labels, ...], values: Any, at_ms: int) -> Reading:
        instants = np.array([at_ms], np.int64)
        return Reading(target=self._target, series=series, at_ms=instants, values=values.reshape(-1, 1))

    def _forget(self, page: _Page, lines: Sequence[bytes]) -> None:
        """Texts that have left the page long ago are forgotten."""
        if len(self._known) > 2 * len(lines) + _SPARE:
            heads = set(page.heads) | {head.rpartition(b" ")[0] for head in page.heads}
            self._known = {head: one for head, one in self._known.items() if head in heads}
        if len(self._said) > 2 * len(page.fixed) + _SPARE:
            lasting = {lines[place] for place in page.fixed}
            self._said = {line: one for line, one in self._said.items() if line in lasting}


def _take(page: _Page, place: int, labels: Labels | None, value: float, at_ms: int | None) -> None:
    """Put one sample where it belongs; the first of a series wins."""
    page.scraped += 1
    if labels is None:
        return
    if at_ms is not None:
        group = page.timed.setdefault(at_ms, {})
        if labels in group:
            page.faults.add("duplicate", f"{_shown(labels)} is there twice", line=place + 1, column=1)
            return
        group[labels] = value
        return
    if labels in page.taken:
        page.faults.add("duplicate", f"{_shown(labels)} is there twice", line=place + 1, column=1)
        return
    page.taken.add(labels)
    page.series.append(labels)
    page.values.append(value)
    page.picks.append(place)


def _template(page: _Page, lines: list[bytes]) -> _Template | None:
    """Only a page without faults, timestamps and exemplars is a template."""
    if page.faults.total or page.odd or len(page.picks) < 2:
        return None
    fixed_of, picks = _getter(page.fixed), itemgetter(*page.picks)
    return _Template(
        page.heads, page.openmetrics, fixed_of(lines), fixed_of, picks, len(page.picks), page.scraped
    )


def _getter(places: list[int]) -> Callable[[list[bytes]], tuple[bytes, ...]]:
    """The lines at these places, always as a tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda lines: tuple(lines[place] for place in places)


def _whole(lines: list[bytes], faults: Faults) -> list[bytes]:
    """Without the last line when the page is cut within it: half a number is a wrong number."""
    if not lines[-1] or lines[-1].startswith(b"#"):
        return lines
    faults.add("eof", "the last line is cut off", line=len(lines), column=1)
    return lines[:-1]


def _metadata(declared: Sequence[Declared]) -> tuple[Metadata, ...]:
    """One record a family; the first word on each matter wins."""
    kinds: dict[str, MetricKind] = {}
    helps: dict[str, str] = {}
    units: dict[str, str] = {}
    for one in declared:
        if one.kind is not None:
            kinds.setdefault(one.name, one.kind)
        if one.help is not None:
            helps.setdefault(one.name, one.help)
        if one.unit is not None:
            units.setdefault(one.name, one.unit)
    names = dict.fromkeys(one.name for one in declared)
    return tuple(
        Metadata(
            name=name,
            kind=kinds.get(name, MetricKind.UNKNOWN),
            help=helps.get(name, ""),
            unit=units.get(name, ""),
        )
        for name in names
    )


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Faulty("encoding", "the line is not UTF-8", error.start + 1) from None


def _shown(labels: Labels) -> str:
    inner = ",".join(f"{name}={value[:40]!r}" for name, value in labels[:8])
    return "{" + inner[:200] + "}"
