"""A search answers what grep over the whole would, of what may be shown."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poise.adapters.masking import Masker
from poise.adapters.output import blocks, text
from poise.adapters.output.files import OutputFile, replica_files
from poise.adapters.output.index import Index
from poise.adapters.output.matcher import Matcher
from poise.adapters.output.search import OutputQuery, around, search
from poise.keeper.logs import _punch
from poise.model.errors import Invalid

SECRET = "hunter2-hunter3"


class NoSealer:
    """Opens nothing: values are added in plain."""


@pytest.fixture
def masker() -> Masker:
    return Masker(NoSealer())  # type: ignore[arg-type]


def written(
    folder: Path, raw: bytes, records: Sequence[tuple[int, int]] = (), name: str = "1-0"
) -> OutputFile:
    path = folder / f"{name}.log"
    path.write_bytes(raw)
    Path(f"{path}.index").write_bytes(b"".join(struct.pack("<QQ", *one) for one in records))
    return OutputFile(source=name, path=path)


def texts(page: Any) -> list[str]:
    return [line.text for line in page.items]


LINES = st.lists(
    st.text(alphabet=st.sampled_from("ab \t\x1b[m0é€\x00\r\x7f*"), max_size=12).map(str.encode)
    | st.binary(max_size=8).map(lambda raw: raw.replace(b"\n", b""))
    | st.just(SECRET.encode()),
    max_size=40,
)
PATTERNS = st.sampled_from(
    ["a", "^a", "b$", "^$", "", "a.*b", r"\s", "[^a]", "a|b", r"\Aa", r"\*\*\*", "é", "b{2}", r"\bb"]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, pattern=PATTERNS, block=st.integers(1, 200), ends=st.booleans(), secret=st.booleans())
def test_what_is_found_is_what_line_by_line_would_find(
    lines: list[bytes], pattern: str, block: int, ends: bool, secret: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    """Whatever the bytes, however they fall into blocks, with secrets or without."""
    masker = Masker(NoSealer())  # type: ignore[arg-type]
    if secret:
        masker.add([SECRET])
    longest = max(map(len, lines), default=0) + 1
    monkeypatch.setattr(blocks, "FIRST_BYTES", block)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", max(block, longest))
    raw = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    file = written(tmp_path, raw)
    matcher = Matcher(pattern)
    shown = [masker.text(text.clean(line.decode(errors="replace"))) for line in raw.split(b"\n")]
    shown = shown[:-1] if raw.endswith(b"\n") or not raw else shown
    expected = [line for line in shown if next(matcher.lines(line.encode() + b"\n"), None)]
    page = search([file], OutputQuery(matcher=matcher), masker)
    found = texts(page)
    if secret and not raw.endswith(b"\n"):  # a last line that goes on may show less
        assert found[: len(found) - 1] == expected[: len(found) - 1] or found[:-1] == expected
    else:
        assert found == expected
    starts = [0, *(place + 1 for place, byte in enumerate(raw) if byte == 10)]
    assert all(line.offset in starts for line in page.items), "an address is the beginning of a line"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 3)), min_size=1, max_size=30),
    looked=st.data(),
    since=st.integers(900, 4_000),
    width=st.integers(1, 3_000),
)
def test_a_search_by_time_misses_no_line_of_that_time(
    writes: list[tuple[int, int]], looked: Any, since: int, width: int, tmp_path: Path
) -> None:
    """However often the keeper looked: each line of then is shown, and bounds hold its instant."""
    at, size, truth, records, raw = 1_000, 0, [], [], b""
    for wait, count in writes:
        at += wait
        for _ in range(count):
            truth.append((at, len(raw)))
            raw += b"line %d\n" % len(truth)
        size = len(raw)
        if looked.draw(st.booleans()):
            records.append((at, size))
    file = written(tmp_path, raw, records)
    os.utime(file.path, (at / 1000, at / 1000))
    index = Index.of(file.path, at)
    for instant, offset in truth:
        low, by = index.bounds_ms(offset)
        assert (low is None or low <= instant) and instant <= by
    query = OutputQuery(since_ms=since, until_ms=since + width, tail=1_000)
    shown = {line.offset for line in search([file], query, Masker(NoSealer())).items}  # type: ignore[arg-type]
    wanted = {offset for instant, offset in truth if since <= instant < since + width}
    assert wanted <= shown


def test_an_own_stamp_is_the_time_of_its_line(tmp_path: Path, masker: Masker) -> None:
    """Most servers write one; it is exact where the index is not."""
    noon = 1_772_366_400_000
    raw = b"2026-03-01T12:00:00.250Z first\n2026-03-01T12:00:00.750Z second\n1999-01-01T00:00:00Z of old\n"
    file = written(tmp_path, raw, [(noon, 0), (noon + 1_000, len(raw))])
    page = search([file], OutputQuery(since_ms=noon + 500), masker)
    assert texts(page) == ["2026-03-01T12:00:00.750Z second", "1999-01-01T00:00:00Z of old"]
    assert [line.earlier_s for line in page.items] == [0.0, 1.0]


def test_replicas_are_merged_by_time_and_the_dead_have_their_last_word(
    tmp_path: Path, masker: Masker
) -> None:
    """After a crash people want to see what the one that died said, between what the others said."""
    folder = tmp_path / "logs" / "shop/production/web"
    folder.mkdir(parents=True)
    written(folder, b"a1\na2\nlast words\n", [(1_000, 0), (1_100, 3), (3_000, 6), (3_100, 17)], "1-0")
    written(folder, b"b1\nb2\n", [(1_900, 0), (2_000, 3), (3_900, 3), (4_000, 6)], "2-0")
    written(folder, b"other\n", [(2_400, 0), (2_500, 6)], "2-1")
    files = replica_files(tmp_path, "shop/production/web")
    assert texts(search(files, OutputQuery(), masker)) == ["a1", "a2", "b1", "other", "last words", "b2"]
    only = replica_files(tmp_path, "shop/production/web", "0")
    assert {file.source for file in only} == {"1-0", "2-0"}
    assert [f.source for f in replica_files(tmp_path, "shop/production/web", "2-1")] == ["2-1"]


def test_a_secret_is_neither_shown_nor_found(tmp_path: Path, masker: Masker) -> None:
    """A search that matched what is masked would tell a secret letter by letter."""
    masker.add([SECRET])
    file = written(tmp_path, f"token {SECRET} used\nplain\n".encode())
    assert texts(search([file], OutputQuery(), masker)) == ["token *** used", "plain"]
    assert search([file], OutputQuery(matcher=Matcher("hunter")), masker).items == ()
    assert texts(search([file], OutputQuery(matcher=Matcher(r"token \*+")), masker)) == ["token *** used"]


@pytest.mark.parametrize("before", [0, 100, 70_000, 1_500_000])
def test_no_part_of_a_secret_is_shown_wherever_a_look_begins(
    tmp_path: Path, masker: Masker, before: int
) -> None:
    """An address comes from outside: it may point into the middle of a secret, in a line without an end."""
    masker.add([SECRET])
    file = written(tmp_path, b"x" * before + SECRET.encode() + b"y" * 70_000)
    pages = [around(file, before + part, 5, masker) for part in range(0, len(SECRET), 3)]
    pages += [around(file, before + blocks.NEAR_BYTES + part, 5, masker) for part in range(0, len(SECRET), 3)]
    pages.append(search([file], OutputQuery(), masker))
    shown = "".join(line.text for page in pages for line in page.items)
    assert shown
    assert not any(SECRET[part : part + 5] in shown for part in range(len(SECRET) - 5))


def test_the_hole_at_the_front_is_passed_over(tmp_path: Path, masker: Masker) -> None:
    """The keeper has freed it; what was cut there is no line."""
    file = written(tmp_path, b"".join(b"%07d\n" % n for n in range(4_096)))
    descriptor = os.open(file.path, os.O_RDWR)
    _punch(descriptor, 8_192 + 4)
    os.close(descriptor)
    found = texts(search([file], OutputQuery(tail=5_000), masker))
    assert [int(line) for line in found[1:]] == list(range(1_026, 4_096)) or int(found[0]) in (1_025, 1_026)
    assert all(line.isdigit() for line in found[1:])


def test_context_stands_around_what_was_found_once(tmp_path: Path, masker: Masker) -> None:
    """Neighbours of neighbours are not told twice; what matched is marked."""
    file = written(tmp_path, b"".join(b"line %d\n" % n for n in range(20)))
    page = search([file], OutputQuery(matcher=Matcher("line (5|6|19)$"), context=2), masker)
    assert texts(page) == [f"line {n}" for n in (3, 4, 5, 6, 7, 8, 17, 18, 19)]
    assert [line.text for line in page.items if not line.is_context] == ["line 5", "line 6", "line 19"]


def test_an_address_shows_its_line_and_those_around(tmp_path: Path, masker: Masker) -> None:
    """A link to a line can be sent to someone."""
    file = written(tmp_path, b"".join(b"line %d\n" % n for n in range(20)))
    page = around(file, 7 * 10 + 3, 1, masker)
    assert texts(page) == ["line 9", "line 10", "line 11"]
    assert [line.is_context for line in page.items] == [True, False, True]
    assert around(file, 10_000, 1, masker).items == ()


def test_a_search_over_its_limit_says_so(tmp_path: Path, masker: Masker) -> None:
    """What was found so far is shown, the rest is not passed off as nothing."""
    file = written(tmp_path, b"needle\n" + b"hay\n" * 100_000)
    page = search([file], OutputQuery(matcher=Matcher("needle"), search_bytes=100_000), masker)
    assert page.items == ()
    assert "Only the newest" in page.shortened
    assert page.searched_bytes < page.total_bytes
    whole = search([file], OutputQuery(matcher=Matcher("needle")), masker)
    assert texts(whole) == ["needle"]
    assert whole.shortened == ""


def test_an_evil_expression_takes_linear_time(tmp_path: Path, masker: Masker) -> None:
    """Python's own would never come back from this one."""
    file = written(tmp_path, b"a" * 200_000 + b"!\n")
    began = time.process_time()
    assert search([file], OutputQuery(matcher=Matcher("(a*)*(a*)*b$")), masker).items == ()
    assert time.process_time() - began < 5


def test_a_bad_expression_is_told_with_its_place() -> None:
    """Someone in trouble mistypes."""
    with pytest.raises(Invalid) as told:
        Matcher("time[a")
    assert (told.value.code, told.value.where) == ("POISE-Y101", "character 5")
    assert "missing ]" in told.value.why
    with pytest.raises(Invalid):
        Matcher("a)b(")
    with pytest.raises(Invalid):
        Matcher("x" * 1_001)


def test_a_very_long_line_is_shown_around_what_was_found(tmp_path: Path, masker: Masker) -> None:
    """A dumped body of a megabyte must not fill the screen, nor hide the place."""
    file = written(tmp_path, b"x" * 300_000 + b"needle" + b"y" * 300_000 + b"\n")
    (line,) = search([file], OutputQuery(matcher=Matcher("needle")), masker).items
    assert "needle" in line.text
    assert len(line.text) == text.LINE_CHARS
    assert line.cut_chars == 600_006 - text.LINE_CHARS
