"""A file of samples is a metrics store; what cannot be read is named."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from poise.adapters.exposition.history import read_history
from poise.model.errors import Invalid, NotFound


def test_samples_are_asked_in_promql(tmp_path: Path) -> None:
    """The same question as to a server, so that nothing else has to know where history lies."""
    file = tmp_path / "m.om"
    file.write_text(
        '# TYPE x counter\nx_total{a="1"} 5 100.5\nx_total{a="1"} 7 160\nx_total{a="2"} 1 160\n# EOF\n'
    )
    told: list[float] = []
    made = read_history(file, told.append)
    frame = anyio.run(made.query, "x_total[70000ms]", 160_000)
    assert frame.ragged is not None
    found = {dict(labels)["a"]: values.tolist() for labels, values in _series(frame.ragged)}
    assert found == {"1": [5.0, 7.0], "2": [1.0]}
    assert (made.first_ms, made.last_ms) == (100_500, 160_000)


def test_prometheus_text_has_milliseconds(tmp_path: Path) -> None:
    """Without an end it is the older format, whose timestamps are of another unit."""
    file = tmp_path / "m.txt"
    file.write_text("x 5 100500\nx 6 160000\n")
    assert read_history(file).first_ms == 100_500


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("x 5\n# EOF\n", "1:", "no timestamp"),
        ("x 5 100\nx nan? 160\n# EOF\n", "2:", "no number"),
        ("x 5 100\nx 6 soon\n# EOF\n", "2:", "no number"),
        ("x 5 100\n# EOF\nx 5 160\n# EOF\n", "3:", "after # EOF"),
        ("x{a=1} 5 100\n# EOF\n", "1:", ""),
        ("# EOF\n", "", "no sample"),
    ],
)
def test_what_is_no_sample_is_named(tmp_path: Path, text: str, place: str, said: str) -> None:
    """A line that is left out silently would be a hole in a budget."""
    file = tmp_path / "m.om"
    file.write_text(text)
    with pytest.raises(Invalid) as caught:
        read_history(file)
    assert said in caught.value.what and f"m.om:{place}" in f"{caught.value.where}:{place}"
    assert place in caught.value.where


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    """A mistyped name is the likeliest mistake."""
    with pytest.raises(NotFound):
        read_history(tmp_path / "none.om")


def _series(block: object) -> list[tuple[tuple[tuple[str, str], ...], object]]:
    return [
        (block.series[first + row], values[row])  # type: ignore[attr-defined]
        for first, _, values in block.groups()  # type: ignore[attr-defined]
        for row in range(len(values))
    ]
