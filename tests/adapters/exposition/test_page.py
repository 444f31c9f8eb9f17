"""Pages of targets: what is good is kept bit for bit, what is broken is named and costs nothing else."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poise.adapters.exposition.page import Exposition, Read
from poise.model.errors import Invalid, TooLarge
from poise.model.intake import IntakeLimits
from poise.model.samples import NAME, Labels, Metadata, MetricKind

NOW = 1_700_000_000_000
TEXT = "text/plain; version=0.0.4"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
FUZZ = settings(max_examples=150, deadline=None)


def read(text: str | bytes, kind: str = TEXT, exposition: Exposition | None = None) -> Read:
    raw = text if isinstance(text, bytes) else text.encode()
    return (exposition or Exposition("t")).read(raw, kind, NOW)


def found(page: Read) -> dict[Labels, float]:
    return dict(zip(page.current.series, page.current.values[:, 0].tolist(), strict=True))


def labels(name: str, **rest: str) -> Labels:
    return tuple(sorted({NAME: name, **rest}.items()))


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def written(series: Labels, value: float) -> str:
    inner = ",".join(f'{name}="{escaped(text)}"' for name, text in series if name != NAME)
    return f"{dict(series)[NAME]}{{{inner}}} {value!r}"


GOOD = 'up 1\nhttp_requests_total{code="200",path="/a b"} 1027\nload1 -0.0\n'


def test_a_page_is_read_with_its_metadata() -> None:
    page = read("# HELP a_total Of \\\\ and\\nmore.\n# TYPE a_total counter\na_total 3\n# a remark\n\nb 4 \n")
    assert found(page) == {labels("a_total"): 3.0, labels("b"): 4.0}
    assert page.metadata == (Metadata(name="a_total", kind=MetricKind.COUNTER, help="Of \\ and\nmore."),)
    assert (page.counts, page.scraped, page.series_added) == ({}, 2, 2)


@pytest.mark.parametrize(
    ("line", "series", "value"),
    [
        ('m{a="b"}5', labels("m", a="b"), 5.0),
        ("m\t5", labels("m"), 5.0),
        (' m { a = "b" , } 5', labels("m", a="b"), 5.0),
        ('m{a="x } y",b=""} 5', labels("m", a="x } y"), 5.0),
        ('m{a="\\"\\\\\\n\\x"} +Inf', labels("m", a='"\\\n\\x'), math.inf),
        ('{"m.n","o p"="q"} 1e3', (("__name__", "m.n"), ("o p", "q")), 1000.0),
        ('m_bucket{le="1"} 5 # {trace_id="x y"} 0.67 1.5', labels("m_bucket", le="1"), 5.0),
    ],
)
def test_lines_of_many_forms(line: str, series: Labels, value: float) -> None:
    """Twice with the same reader: the fast way answers as the strict one did."""
    exposition = Exposition("t")
    for _ in range(3):
        page = read(f"{line}\nother 1\nlast 2\n", exposition=exposition)
        assert found(page) == {series: value, labels("other"): 1.0, labels("last"): 2.0}, page.faults


@pytest.mark.parametrize(
    ("line", "kind", "column"),
    [
        ("m", "value", 2),
        ("m 1_000", "value", 3),
        ("m 0x10", "value", 3),
        ("m 1 soon", "timestamp", 5),
        ("m 1 2 3", "syntax", 7),
        ('m{a="b} 1', "syntax", 5),
        ('m{a="b"', "syntax", 8),
        ('m{a="b" c="d"} 1', "syntax", 9),
        ('m{a="b",a="c"} 1', "syntax", 1),
        ('m{0="b"} 1', "syntax", 3),
        ("{} 1", "syntax", 1),
        ("5m 1", "syntax", 1),
        ("# TYPE m sundial", "metadata", 10),
        ("m 1 # no", "exemplar", 7),
    ],
)
def test_a_broken_line_is_named_and_the_rest_survives(line: str, kind: str, column: int) -> None:
    exposition = Exposition("t")
    for _ in range(2):
        page = read(f"up 1\n{line}\ndown 0\n", exposition=exposition)
        assert found(page) == {labels("up"): 1.0, labels("down"): 0.0}
        (fault,) = page.faults
        assert (fault.kind, fault.line, fault.column) == (kind, 2, column), fault
        assert page.counts == {kind: 1}


def test_bytes_that_are_no_text_cost_one_line() -> None:
    page = read(b'up 1\nm{a="\xff"} 1\ndown 0\n')
    assert (len(page.current.series), page.counts) == (2, {"encoding": 1})


def test_the_first_of_two_equal_series_wins() -> None:
    exposition = Exposition("t")
    for _ in range(2):
        page = read('m{a="1",b="2"} 1\nm{b="2",a="1"} 2\n', exposition=exposition)
        assert (found(page), page.counts) == ({labels("m", a="1", b="2"): 1.0}, {"duplicate": 1})


def test_label_bombs_are_left_out() -> None:
    limits = IntakeLimits(labels=4, name_chars=20, value_chars=30, line_bytes=200, body_bytes=5000, series=3)
    many = "m{" + ",".join(f'l{n}="x"' for n in range(5)) + "} 1"
    lines = [
        many,
        f'm{{a="{"x" * 31}"}} 1',
        f'm{{{"a" * 21}="x"}} 1',
        f"{'n' * 21} 1",
        f'm{{a="{"x" * 200}"}} 1',
    ]
    page = read("\n".join([*lines, "up 1", "b 1", "c 1", "d 1"]), exposition=Exposition("t", limits))
    assert page.counts == {"label-limit": 4, "line-limit": 1, "series-limit": 1}
    assert set(found(page)) == {labels("up"), labels("b"), labels("c")}
    with pytest.raises(TooLarge):
        read("a 1\n" * 2000, exposition=Exposition("t", limits))


def test_what_is_no_text_is_refused_whole() -> None:
    with pytest.raises(Invalid, match="not read"):
        read(b"\x00", "application/vnd.google.protobuf; encoding=delimited")


def test_timestamps_make_readings_of_their_own() -> None:
    text = "a 1 1000\nb 2 1000\na 3 2000\nc 4\n"
    exposition = Exposition("t")
    for _ in range(2):
        page = read(text, exposition=exposition)
        assert found(page) == {labels("c"): 4.0}
        told = [(one.at_ms.tolist(), one.series, one.values.tolist()) for one in page.timed]
        assert told == [
            ([1000], (labels("a"), labels("b")), [[1.0], [2.0]]),
            ([2000], (labels("a"),), [[3.0]]),
        ]
    seconds = read("a 1 1.5\n# EOF\n", OPEN)
    assert seconds.timed[0].at_ms.tolist() == [1500]


def test_timestamps_may_be_ignored() -> None:
    exposition = Exposition("t", honor_timestamps=False)
    for _ in range(3):
        page = read('a 1 1000\nb{le="1"} 2 # {x="y"} 7\nc 3\n', exposition=exposition)
        assert found(page) == {labels("a"): 1.0, labels("b", le="1"): 2.0, labels("c"): 3.0}


def test_an_openmetrics_page_ends_with_eof() -> None:
    good = "# TYPE a counter\n# UNIT a seconds\na_total 1\na_created 7\n# EOF\n"
    page = read(good, OPEN)
    assert (page.counts, len(page.current.series)) == ({}, 2)
    assert page.metadata == (Metadata(name="a", kind=MetricKind.COUNTER, unit="seconds"),)
    cut = read(good[: good.index("d 7") + 2], OPEN)
    assert (cut.counts, found(cut)) == ({"eof": 2}, {labels("a_total"): 1.0})
    assert read(good + "b 1\n", OPEN).counts == {"eof": 1}


def test_the_same_series_are_the_same_object() -> None:
    exposition = Exposition("t")
    first = read(GOOD, exposition=exposition)
    for value in ("2", "NaN", "nope", "3"):
        again = read(GOOD.replace("1027", value), exposition=exposition)
        assert (again.current.series is first.current.series) == (value != "nope") or value == "3"
    assert again.current.series == first.current.series
    assert again.metadata is first.metadata


def test_series_that_come_and_go_are_told() -> None:
    exposition = Exposition("t")
    read(GOOD, exposition=exposition)
    page = read("up 1\nfresh 2\n", exposition=exposition)
    assert page.series_added == 1
    assert set(page.series_gone) == {labels("load1"), labels("http_requests_total", code="200", path="/a b")}


def test_a_transform_is_asked_once_for_each_series() -> None:
    asked: list[Labels] = []

    def transform(series: Labels) -> Labels | None:
        asked.append(series)
        return None if dict(series)[NAME] == "load1" else (*series, ("zone", "a"))

    exposition = Exposition("t", transform=transform)
    for _ in range(4):
        page = read(GOOD, exposition=exposition)
        assert (page.scraped, page.kept) == (3, 2)
    assert len(asked) == 3
    assert all(("zone", "a") in series for series in page.current.series)


def test_what_left_long_ago_is_forgotten() -> None:
    exposition = Exposition("t")
    for churn in range(30):
        read("".join(f'm{{id="{churn}.{n}"}} 1\n' for n in range(200)), exposition=exposition)
    assert len(exposition._known) <= 2 * 201 + 1000


def test_a_changed_remark_is_seen_although_no_series_changed() -> None:
    exposition = Exposition("t")
    read("# HELP a one word\na 1\nb 2\n", exposition=exposition)
    read("# HELP a one word\na 1\nb 2\n", exposition=exposition)
    page = read("# HELP a one sword\na 1\nb 2\n", exposition=exposition)
    assert page.metadata[0].help == "one sword"


NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,9}", fullmatch=True)
KEYS = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True).filter(lambda one: one != NAME)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
SERIES = st.builds(
    lambda name, rest: tuple(sorted({**rest, NAME: name}.items())),
    NAMES,
    st.dictionaries(KEYS, TEXTS, max_size=4),
)


@FUZZ
@given(st.dictionaries(SERIES, st.tuples(st.floats(), st.floats()), max_size=8))
def test_what_is_written_is_read_bit_for_bit(samples: dict[Labels, tuple[float, float]]) -> None:
    """Both the strict way (first page) and the fast ways (later pages)."""
    exposition = Exposition("t")
    for which in (0, 1, 0):
        text = "".join(written(series, values[which]) + "\n" for series, values in samples.items())
        page = read(text, exposition=exposition)
        assert page.counts == {}, page.faults
        for series, value in found(page).items():
            meant = samples[series][which]
            assert bits(value) == bits(math.nan if math.isnan(meant) else meant)
        assert len(found(page)) == len(samples)


@FUZZ
@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from([TEXT, OPEN, ""]))
def test_no_bytes_break_the_reader_or_the_lines_around_them(chunks: list[bytes], kind: str) -> None:
    exposition = Exposition("t")
    read("sentinel 7\nafter 1\n# EOF\n", kind, exposition)
    body = (
        b"sentinel 7\n" + b"\n".join(chunks).replace(b"# EOF", b"").replace(b"#", b"") + b"\nafter 8\n# EOF\n"
    )
    first, again = read(body, kind, exposition), read(body, kind, exposition)
    assert {labels("sentinel"): 7.0, labels("after"): 8.0}.items() <= found(first).items()
    assert first.counts == again.counts
    assert first.current.series == again.current.series
    assert np.array_equal(first.current.values, again.current.values, equal_nan=True)


@FUZZ
@given(st.data())
def test_a_flipped_byte_costs_at_most_its_own_lines(data: st.DataObject) -> None:
    """The fast and the strict way agree on every mutilated page."""
    text = bytearray(("# HELP up Is it up.\n" + GOOD + 'b{le="1"} 5 # {t="u"} 0.5\nc 5 1000\n').encode())
    at = data.draw(st.integers(0, len(text) - 1))
    warm = Exposition("t")
    warm.read(bytes(text), TEXT, NOW)
    text[at] = data.draw(st.integers(0, 255))
    fast, strict = read(bytes(text), TEXT, warm), read(bytes(text), TEXT)
    assert sum(fast.counts.values()) == sum(strict.counts.values())
    assert len(strict.current.series) + len(strict.timed) >= 3
    assert fast.current.series == strict.current.series
    assert np.array_equal(fast.current.values, strict.current.values, equal_nan=True)


def test_a_tab_before_the_value_of_a_known_series_is_a_separator() -> None:
    """As it is in a line that is met for the first time."""
    warm = Exposition("t")
    warm.read(b"load1 1\n", TEXT, NOW)
    found = read(b"load1 \t2\n", TEXT, warm)
    assert not found.counts and found.current.values.tolist() == [[2.0]]
