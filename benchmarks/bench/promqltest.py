"""Runs files in promqltest's language: load, clear, eval and what is expected of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from poise.adapters.memory_samples import MemorySamples
from poise.adapters.promql import Engine, parse
from poise.adapters.promql.errors import QueryInvalid, Unsupported
from poise.adapters.promql.notation import labels_of, series, values
from poise.model.errors import PoiseError
from poise.model.samples import NAME, AnswerKind, Frame, Labels

TOLERANCE = 1e-6
_EVAL = re.compile(
    r"^eval(?:_(?P<mode>fail|ordered|warn|info))?\s+(?:instant\s+(?:at\s+(?P<at>\S+))?\s*(?P<expr>.+)"
    r"|range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)\s+step\s+(?P<step>\S+)\s+(?P<rexpr>.+))$"
)
_UNITS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}


@dataclass
class Outcome:
    """What became of one evaluation: right, wrong, or the reason why it was left out."""

    line: int
    expression: str
    verdict: str
    why: str = ""
    notes_right: bool | None = None


@dataclass
class _Case:
    line: int
    expression: str
    mode: str
    grid: tuple[int, int, int] | None
    at_ms: int
    expected: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)


def duration_ms(text: str) -> int:
    """``1h30m`` or plain seconds, in milliseconds."""
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("-")
    if re.fullmatch(r"[0-9.]+(e[0-9]+)?", text):
        return sign * round(float(text) * 1000)
    found = re.findall(r"([0-9.]+)(ms|[smhdwy])", text)
    return sign * round(sum(float(count) * _UNITS[unit] for count, unit in found))


def run_file(path: Path) -> list[Outcome]:
    """Every evaluation of a file, in order."""
    return _Run().run(path.read_text().splitlines())


class _Run:
    def __init__(self) -> None:
        self.samples = MemorySamples()
        self.native: set[str] = set()  # metrics that hold what Poise has not
        self.outcomes: list[Outcome] = []

    def run(self, lines: list[str]) -> list[Outcome]:
        place = 0
        while place < len(lines):
            text = lines[place].strip()
            block = []
            after = place + 1
            while after < len(lines) and (not lines[after].strip() or lines[after][:1] in " \t"):
                if lines[after].strip() and not lines[after].strip().startswith("#"):
                    block.append(lines[after].strip())
                elif not lines[after].strip():
                    break
                after += 1
            if text.startswith("load"):
                self._load(text, block)
            elif text == "clear":
                self.samples.clear()
                self.native.clear()
            elif text.startswith("eval"):
                self.outcomes.append(self._eval(_case(place + 1, text, block)))
            place = after if text and not text.startswith("#") else place + 1
        return self.outcomes

    def _load(self, text: str, block: list[str]) -> None:
        command, step = text.split()[:2]
        for line in block:
            if line.startswith("@st"):
                continue
            labels, rest = labels_of(line)
            name = dict(labels).get(NAME, "")
            if "{{" in rest or "@" in rest:
                self.native.add(name)
                continue
            if command == "load_with_nhcb" and name.endswith(("_bucket", "_count", "_sum")):
                self.native.add(name.rsplit("_", 1)[0])
            try:
                found = values(rest)
            except (QueryInvalid, Unsupported):
                self.native.add(name)
                continue
            points = ((i * duration_ms(step), value) for i, value in enumerate(found) if value is not None)
            self.samples.add(labels, points)

    def _eval(self, case: _Case) -> Outcome:
        made = Outcome(case.line, case.expression, "wrong")
        names = set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", case.expression))
        if names & self.native or any("{{" in line for line in case.expected):
            made.verdict = "native histogram"
            return made
        fails = case.mode == "fail" or any(flag.startswith("fail") for flag in case.flags)
        try:
            parse(case.expression)
        except QueryInvalid as error:
            made.verdict, made.why = ("right" if fails else "promql-parser cannot parse"), str(error)
            return made
        if self._holds_native(case):
            made.verdict = "native histogram"
            return made
        engine = Engine(self.samples)
        try:
            frame = (
                engine.instant(case.expression, case.at_ms)
                if case.grid is None
                else engine.range(case.expression, *case.grid)
            )
        except Unsupported as error:
            made.verdict, made.why = "native histogram", str(error)
            return made
        except PoiseError as error:
            made.verdict, made.why = ("right" if fails else "wrong"), str(error)
            return made
        except Exception as error:
            made.why = f"{type(error).__name__}: {error}"
            return made
        if fails:
            made.why = "should have failed"
            return made
        made.why = _compared(case, frame)
        made.verdict = "wrong" if made.why else "right"
        made.notes_right = _notes(case, frame)
        return made

    def _holds_native(self, case: _Case) -> bool:
        """A selector by label or regex may meet series that were left out at loading."""
        return bool(self.native) and "{__name__" in case.expression


def _case(line: int, text: str, block: list[str]) -> _Case:
    found = _EVAL.match(text)
    assert found is not None, text
    expression = found["expr"] or found["rexpr"]
    grid = None
    if found["start"] is not None:
        start, end, step = (duration_ms(found[key]) for key in ("start", "end", "step"))
        grid = (start, end, step)
    case = _Case(line, expression.strip(), found["mode"] or "", grid, duration_ms(found["at"] or "0"))
    for one in block:
        if one.startswith("expect "):
            case.flags.append(one.removeprefix("expect "))
        elif not one.startswith("expected_fail"):
            case.expected.append(one)
    return case


def _notes(case: _Case, frame: Frame) -> bool | None:
    for word, said in (("warn", frame.warnings), ("info", frame.infos)):
        if case.mode == word or any(flag.split()[0] == word for flag in case.flags if flag):
            return bool(said)
        if f"no_{word}" in case.flags and said:
            return False
    return None


def _compared(case: _Case, frame: Frame) -> str:
    if frame.kind is AnswerKind.STRING:
        wanted = next((flag.removeprefix("string ") for flag in case.flags if flag.startswith("string ")), "")
        wanted = wanted or (case.expected[0] if case.expected else "")
        return "" if wanted.strip("\"'`") == frame.text else f"string {frame.text!r}"
    ranged = next((flag for flag in case.flags if flag.startswith("range vector")), None)
    if ranged is not None:
        return _compared_ragged(case, frame, ranged)
    got = _rows(frame)
    if frame.kind is AnswerKind.SCALAR and len(case.expected) == 1 and "{" not in case.expected[0]:
        return (
            "" if _same(float(case.expected[0]), float(frame.values[0, 0])) else f"got {frame.values[0, 0]}"
        )
    wanted_rows: dict[Labels, list[float | None]] = {}
    for line in case.expected:
        if frame.kind is AnswerKind.MATRIX or not _is_number(line):
            labels, row = series(line)
        else:
            labels, row = (), [float(line)]
        wanted_rows[labels] = row
    steps = len(frame.at_ms)
    wanted_rows = {key: (row + [None] * steps)[:steps] for key, row in wanted_rows.items()}
    wanted_rows = {key: row for key, row in wanted_rows.items() if any(one is not None for one in row)}
    if set(got) != set(wanted_rows):
        return f"labels {sorted(set(got) ^ set(wanted_rows))[:4]}"
    ordered = case.mode == "ordered" or any(flag.startswith("ordered") for flag in case.flags)
    if ordered and list(got) != list(wanted_rows):
        return f"order {list(got)}"
    for key, row in wanted_rows.items():
        for step, (want, have) in enumerate(zip(row, got[key], strict=True)):
            if (want is None) != (have is None) or (
                want is not None and have is not None and not _same(want, have)
            ):
                return f"{key} step {step}: want {want} got {have}"
    return ""


def _compared_ragged(case: _Case, frame: Frame, flag: str) -> str:
    if frame.ragged is None:
        return "no range vector"
    found = re.match(r"range vector from (\S+) to (\S+) step (\S+)", flag)
    assert found is not None
    start, _, step = (duration_ms(one) for one in found.groups())
    want = {}
    for line in case.expected:
        labels, row = series(line)
        want[labels] = {start + i * step: value for i, value in enumerate(row) if value is not None}
    got = {}
    for first, at_ms, table in frame.ragged.groups():
        for row, labels in enumerate(frame.ragged.series[first : first + len(table)]):
            got[labels] = dict(zip(at_ms.tolist(), table[row].tolist(), strict=True))
    same = set(got) == set(want) and all(
        set(got[key]) == set(want[key]) and all(_same(want[key][at], got[key][at]) for at in got[key])
        for key in got
    )
    return "" if same else f"range vector {got} wanted {want}"


def _rows(frame: Frame) -> dict[Labels, list[float | None]]:
    return {
        labels: [value if there else None for value, there in zip(row, present, strict=True)]
        for labels, row, present in zip(
            frame.series, frame.values.tolist(), frame.present.tolist(), strict=True
        )
    }


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _same(want: float, have: float) -> bool:
    if math.isnan(want) or math.isnan(have):
        return math.isnan(want) and math.isnan(have)
    if want == have:
        return True
    if math.isinf(want) or math.isinf(have):
        return False
    size = abs(want) + abs(have)
    return abs(want - have) / min(size, 1.797e308) < TOLERANCE
