"""The line protocol: whatever comes in, an answer goes out and the keeper lives."""

from __future__ import annotations

import json
import socket
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poise.keeper import limits, wire
from poise.keeper.workload import Spec

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("key", "spec_hash", "argv", "cwd", "env", "port", "cluster", "sandbox", "log", "backoff", "rlimits")
GOOD = {"key": "a", "spec_hash": "h", "argv": ["true"]}


@given(st.lists(st.binary(max_size=60), max_size=12), st.integers(0, 40))
def test_lines_do_not_depend_on_how_the_bytes_were_cut(chunks: list[bytes], limit: int) -> None:
    """TCP and unix sockets cut where they like."""
    whole = wire.Lines(limit)
    cut = wire.Lines(limit)
    together = whole.feed(b"".join(chunks) + b"\n")
    assert [line for chunk in [*chunks, b"\n"] for line in cut.feed(chunk)] == together
    assert all(line is None or 0 < len(line) <= limit for line in together)


@given(st.binary(max_size=200))
def test_a_line_is_an_object_or_a_refusal(line: bytes) -> None:
    """Nothing else may come out of the parser."""
    try:
        assert isinstance(wire.parse(line), dict)
    except wire.Refusal as refusal:
        assert refusal.mend


@given(st.sampled_from(FIELDS), JSON)
def test_a_specification_is_taken_whole_or_refused(field: str, value: Any) -> None:
    """A wrong field must never get as far as a fork."""
    try:
        spec = Spec({**GOOD, field: value})
    except wire.Refusal as refusal:
        assert refusal.code == "bad_request"
    else:
        assert spec.argv and spec.key
        json.dumps(spec.raw)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4))
def test_random_bytes_never_end_the_keeper(house: Any, chunks: list[bytes]) -> None:
    """It is the parent of everything; it must outlive every mistake of its callers."""
    with socket.socket(socket.AF_UNIX) as talk:
        talk.connect(str(house.data / "run" / "keeper.sock"))
        for chunk in chunks:
            talk.sendall(chunk)
        talk.sendall(b'\n{"id": 42, "op": "hello"}\n')
        talk.settimeout(5)
        with talk.makefile("rb") as file:
            answer: dict[str, Any] = {}
            while answer.get("id") != 42:
                answer = json.loads(file.readline())
    assert answer["ok"]
    assert house.keeper.poll() is None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["list", "stop", "restart", "template", "hold", "watch", "nothing", "hello"]),
    st.dictionaries(
        st.sampled_from(["token", "key", "pid", "start_time", "timeout_s", "clusters", "after", "version"]),
        JSON,
    ),
)
def test_odd_requests_are_answered_in_four_parts(house: Any, op: str, fields: dict[str, Any]) -> None:
    """An error says what, where, why and what to do."""
    answer = house.ask(op, **{"token": 0, **fields})
    if answer.get("ok") is False:
        assert answer["error"]["code"] != "failed"
        assert set(answer["error"]) == {"code", "what", "where", "why", "mend"}
    assert house.keeper.poll() is None


def test_a_line_over_the_limit_is_refused_and_the_next_one_served(house: Any) -> None:
    """One oversized request must not cost the connection."""
    with socket.socket(socket.AF_UNIX) as talk, talk.makefile("rb") as file:
        talk.connect(str(house.data / "run" / "keeper.sock"))
        talk.sendall(b"x" * (limits.LINE_BYTES + 2) + b'\n{"id": 1, "op": "hello"}\n')
        assert json.loads(file.readline())["error"]["code"] == "line_too_long"
        assert json.loads(file.readline())["id"] == 1
