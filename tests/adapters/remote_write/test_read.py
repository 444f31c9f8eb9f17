"""Remote-write 1.0: series come through bit for bit; what is broken is named or refused, nothing crashes."""

from __future__ import annotations

import contextlib
import math
import struct

import cramjam
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poise.adapters.prometheus.wire import write_request
from poise.adapters.remote_write.read import RemoteWrite
from poise.model.errors import Invalid, PoiseError, TooLarge
from poise.model.intake import Intake, IntakeLimits
from poise.model.samples import NAME, STALE, Labels, Reading, Round

FUZZ = settings(max_examples=150, deadline=None)


def labels(name: str, **rest: str) -> Labels:
    return tuple(sorted({NAME: name, **rest}.items()))


def sent(samples: dict[Labels, list[tuple[int, float]]]) -> bytes:
    readings = [
        Reading(
            target="t",
            series=(series,),
            at_ms=np.array([at_ms for at_ms, _ in points], np.int64),
            values=np.array([[value for _, value in points]], np.float64),
        )
        for series, points in samples.items()
    ]
    return write_request(Round(readings=tuple(readings)))


def found(intake: Intake) -> dict[Labels, list[tuple[int, bytes]]]:
    return {
        series: [(int(at_ms), bits(value)) for at_ms, value in zip(one.at_ms, one.values[row], strict=True)]
        for one in intake.readings
        for row, series in enumerate(one.series)
    }


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def test_series_of_one_target_share_a_reading() -> None:
    a, b = labels("a", job="j", instance="i"), labels("b", job="j", instance="i")
    reader = RemoteWrite()
    (one,) = reader.read(sent({a: [(1000, 1.0)], b: [(1000, STALE)]})).readings
    assert (one.target, one.series, one.at_ms.tolist()) == ("push/j/i", (a, b), [1000])
    assert bits(one.values[1, 0]) == bits(STALE)
    (again,) = reader.read(sent({a: [(2000, 1.0)], b: [(2000, 2.0)]})).readings
    assert again.series is one.series


def test_a_series_without_a_name_costs_only_itself() -> None:
    good = labels("a")
    intake = RemoteWrite().read(sent({good: [(1, 1.0)], (("b", "c"),): [(1, 1.0), (2, 2.0)]}))
    assert (set(found(intake)), intake.counts, intake.samples) == ({good}, {"labels": 2}, 1)


def test_label_bombs_are_left_out() -> None:
    limits = IntakeLimits(labels=3, value_chars=50)
    bomb, long = labels("a", b="1", c="2", d="3"), labels("a", b="x" * 51)
    intake = RemoteWrite(limits).read(sent({bomb: [(1, 1.0)], long: [(1, 1.0)], labels("ok"): [(1, 1.0)]}))
    assert (set(found(intake)), intake.counts) == ({labels("ok")}, {"label-limit": 2})


def test_samples_out_of_order_are_put_in_order_and_the_first_of_two_wins() -> None:
    intake = RemoteWrite().read(sent({labels("a"): [(3, 3.0), (1, 1.0), (3, 4.0)]}))
    assert found(intake) == {labels("a"): [(1, bits(1.0)), (3, bits(3.0))]}
    assert intake.counts == {"duplicate": 1}


def test_a_snappy_bomb_is_refused_before_it_goes_off() -> None:
    bomb = bytes(cramjam.snappy.compress_raw(b"\0" * 10_000_000))
    with pytest.raises(TooLarge):
        RemoteWrite(IntakeLimits(body_bytes=1_000_000)).read(bomb)
    claim = b"\xff\xff\xff\xff\x0f"  # 4 GiB, and nothing behind it
    with pytest.raises(PoiseError):
        RemoteWrite().read(claim)


@pytest.mark.parametrize("body", [b"", b"not snappy", bytes(cramjam.snappy.compress_raw(b"\x0a\x7fabc"))])
def test_what_is_no_request_is_refused_whole(body: bytes) -> None:
    with pytest.raises(Invalid):
        RemoteWrite().read(body)


NAMES = st.from_regex(r"[a-z_]{1,5}", fullmatch=True)
SERIES = st.builds(
    lambda name, rest: tuple(sorted({**rest, NAME: name}.items())),
    NAMES,
    st.dictionaries(
        NAMES, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9), max_size=3
    ),
)
POINTS = st.dictionaries(st.integers(-(2**62), 2**62), st.floats(), min_size=1, max_size=4)


@FUZZ
@given(st.dictionaries(SERIES, POINTS, max_size=5))
def test_what_is_sent_is_read_bit_for_bit(samples: dict[Labels, dict[int, float]]) -> None:
    ordered = {series: sorted(points.items()) for series, points in samples.items()}
    meant = {
        series: [(at_ms, bits(math.nan if math.isnan(value) else value)) for at_ms, value in points]
        for series, points in ordered.items()
    }
    intake = RemoteWrite().read(sent(ordered))
    assert (found(intake), intake.counts) == (meant, {})


@FUZZ
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_break_the_reader(body: bytes, packed: bool) -> None:
    with contextlib.suppress(PoiseError):
        RemoteWrite().read(bytes(cramjam.snappy.compress_raw(body)) if packed else body)


@FUZZ
@given(st.data())
def test_a_cut_or_flipped_request_is_refused_or_read(data: st.DataObject) -> None:
    good = {labels("a", job="j", n=str(n)): [(1000 + n, float(n)), (2000, math.nan)] for n in range(4)}
    raw = bytearray(cramjam.snappy.decompress_raw(sent(good)))
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    else:
        del raw[data.draw(st.integers(0, len(raw))) :]
    try:
        intake = RemoteWrite().read(bytes(cramjam.snappy.compress_raw(bytes(raw))))
    except Invalid:
        return
    assert intake.samples == sum(one.values.size for one in intake.readings)
