"""Target files and answers of discovery URLs, as others write them: read, or refused in words."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poise.adapters.scrape.discovery import groups_of_files, groups_of_json
from poise.adapters.unpacking import unpacked
from poise.model.errors import Invalid, TooLarge
from poise.model.scrape import TargetGroup

FUZZ = settings(max_examples=200, deadline=None)
WHOLE = json.dumps([{"targets": ["a:1", "b:2"], "labels": {"x": "y"}}]).encode()


def test_files_say_where_their_targets_are_from(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(WHOLE)
    (tmp_path / "b.yml").write_text("- targets: ['c:3']\n")
    groups, faults = groups_of_files([str(tmp_path / "*.json"), str(tmp_path / "*.yml")])
    assert faults == ()
    assert [one.targets for one in groups] == [("a:1", "b:2"), ("c:3",)]
    assert groups[0].labels == {"x": "y", "__meta_filepath": str(tmp_path / "a.json")}


@pytest.mark.parametrize(
    "text", ["{", "[1]", '[{"targets": 5}]', "a: [", "&a [*a]", "\0", "- {targets: [5]}"]
)
def test_a_broken_file_costs_only_itself(tmp_path: Path, text: str) -> None:
    """And its text is told to nobody: a path may name anybody's file."""
    (tmp_path / "good.json").write_bytes(WHOLE)
    for name in ("bad.json", "bad.yml"):
        (tmp_path / name).write_text(text + "   # hunter2")
    groups, faults = groups_of_files([str(tmp_path / "*")])
    assert [one.targets for one in groups] == [("a:1", "b:2")]
    assert len(faults) == 2
    assert all(one.code == "POISE-M504" and "hunter2" not in str(one) for one in faults)


@FUZZ
@given(
    st.binary(max_size=200) | st.integers(0, len(WHOLE)).map(lambda n: WHOLE[:n]) | st.text().map(str.encode)
)
def test_any_answer_is_groups_or_a_clear_error(body: bytes) -> None:
    try:
        assert all(isinstance(one, TargetGroup) for one in groups_of_json(body, "url"))
    except Invalid as error:
        assert error.code == "POISE-M504"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.yml"
        path.write_bytes(body)
        _, faults = groups_of_files([str(path)])
        assert all(one.code == "POISE-M504" for one in faults)


PACKED = gzip.compress(WHOLE * 50)


@FUZZ
@given(st.integers(0, len(PACKED) - 1), st.integers(0, 255), st.integers(0, len(PACKED)))
def test_any_gzip_is_unpacked_or_refused_and_never_past_its_bound(place: int, byte: int, end: int) -> None:
    body = (PACKED[:place] + bytes([byte]) + PACKED[place + 1 :])[:end]
    try:
        assert len(unpacked(body, "gzip", 1000)) <= 1000
    except (Invalid, TooLarge) as error:
        assert error.code in ("POISE-M302", "POISE-M303")
