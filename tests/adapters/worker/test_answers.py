"""Numbers and instants as Go writes them: what reads Prometheus reads us."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from poise.adapters.promql.text import number
from poise.adapters.worker.answers import of_frame, texts
from poise.model.samples import AnswerKind, Frame


@given(st.lists(st.floats(), max_size=20))
def test_each_float_reads_back_as_itself(values: list[float]) -> None:
    shown = texts(np.array(values, float))
    assert [one.decode() for one in shown] == [number(value) for value in values]
    for text, value in zip(shown, values, strict=True):
        assert b"e" not in text
        read = float(text)
        assert math.isnan(read) if math.isnan(value) else struct.pack("d", read) == struct.pack("d", value)


def body(frame: Frame, **how: int) -> str:
    return b"".join(of_frame(frame, **how)).decode()


def test_a_matrix_is_sorted_and_leaves_out_what_is_absent() -> None:
    frame = Frame(
        kind=AnswerKind.MATRIX,
        at_ms=np.array([1000, 1500, 2005], np.int64),
        series=((("b", '"x"\n'),), (("a", "1"),), (("c", ""),)),
        values=np.array([[1.0, 2.5, np.nan], [np.inf, -np.inf, 1e21], [0.0, 0.0, 0.0]]),
        present=np.array([[True, False, True], [True, True, True], [False, False, False]]),
        warnings=("careful",),
    )
    assert body(frame) == (
        '{"status":"success","data":{"resultType":"matrix","result":['
        '{"metric":{"a":"1"},"values":[[1,"+Inf"],[1.500,"-Inf"],[2.005,"1000000000000000000000"]]},'
        '{"metric":{"b":"\\"x\\"\\n"},"values":[[1,"1"],[2.005,"NaN"]]}]},"warnings":["careful"]}'
    )
    cut = json.loads(body(frame, series=1))
    assert len(cut["data"]["result"]) == 1
    assert cut["warnings"] == ["careful", "results truncated due to limit"]


def test_vectors_scalars_and_strings_have_their_own_shapes() -> None:
    one, here = np.array([[-0.0]]), np.ones((1, 1), bool)
    at_ms = np.array([-1500], np.int64)
    vector = Frame(kind=AnswerKind.VECTOR, at_ms=at_ms, series=((("a", "1"),),), values=one, present=here)
    assert json.loads(body(vector))["data"]["result"] == [{"metric": {"a": "1"}, "value": [-1.5, "-0"]}]
    scalar = Frame(kind=AnswerKind.SCALAR, at_ms=at_ms, series=((),), values=one, present=here)
    assert json.loads(body(scalar))["data"] == {"resultType": "scalar", "result": [-1.5, "-0"]}
    text = Frame(kind=AnswerKind.STRING, at_ms=at_ms, values=one[:0], present=here[:0], text='say "x"')
    assert json.loads(body(text))["data"] == {"resultType": "string", "result": [-1.5, 'say "x"']}
    nothing = Frame(kind=AnswerKind.VECTOR, at_ms=at_ms, values=one[:0], present=here[:0])
    assert json.loads(body(nothing))["data"]["result"] == []
