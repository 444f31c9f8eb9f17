"""Answers arrive in any pieces; what they mean does not depend on where they were cut."""

from hypothesis import given
from hypothesis import strategies as some

from poise.adapters.load.wire import parse

CHUNKED = b"HTTP/1.1 503 X\r\nServer: envoy\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED += b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
SIZED = b"HTTP/1.1 503 X\r\nserver: envoy\r\ncontent-length: 5\r\n\r\nabcde"


@given(whole=some.sampled_from([CHUNKED, SIZED]), cut=some.integers(min_value=0, max_value=200))
def test_only_a_whole_answer_is_an_answer(whole: bytes, cut: int) -> None:
    """Reading too early would lose the reason that tells a lost POST from a refused one."""
    parsed = parse(bytearray(whole[:cut]), ended=False)
    if cut < len(whole):
        assert parsed is None
    else:
        assert parsed
        answer, keep = parsed
        assert (answer.status, answer.server, answer.reason, keep) == (503, "envoy", "abcde", True)


@given(some.binary(max_size=300), some.booleans())
def test_any_bytes_are_an_answer_or_a_value_error(received: bytes, ended: bool) -> None:
    """A broken server must not break the measurement."""
    for data in (received, b"HTTP/1.1 200 OK\r\n" + received, b"HTTP/1.1 100 \r\n\r\n" + received):
        try:
            parse(bytearray(data), ended=ended)
        except ValueError:
            continue


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    """HTTP/1.0 servers speak so."""
    received = bytearray(b"HTTP/1.0 500 X\r\n\r\nabc")
    assert parse(received, ended=False) is None
    parsed = parse(received, ended=True)
    assert parsed
    assert (parsed[0].reason, parsed[1]) == ("abc", False)
