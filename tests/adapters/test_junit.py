"""JUnit files come from user code: counted when plain, refused when they could expand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.adapters.junit import count, count_bytes
from poise.model.delivery import TestCount

CASES = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"><failure/></testcase>
<testcase name="c"><error/></testcase><testcase name="d"><skipped/></testcase>
</testsuite></testsuites>"""


def test_cases_are_counted_over_all_files(tmp_path: Path) -> None:
    """By outcome; other XML, history and dependencies count nothing."""
    for name in ("one.xml", "deep/two.xml", ".git/three.xml", "node_modules/four.xml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CASES)
    (tmp_path / "pom.xml").write_text("<project><testcase/></project>")
    (tmp_path / "link.xml").symlink_to("/etc/hosts")
    assert count(tmp_path) == TestCount(passed=2, failed=4, skipped=2)


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE x [<!ENTITY a "aa">]><testsuite><testcase name="&a;"/></testsuite>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite/>',
        "<testsuite>",
        "not xml",
    ],
)
def test_what_declares_entities_or_is_broken_counts_nothing(text: str) -> None:
    """No expansion, no file read, no crash."""
    assert count_bytes(text.encode()) is None
    assert count_bytes(text.encode("utf-16")) is None


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_count(data: bytes) -> None:
    """Whatever a step writes."""
    count_bytes(data)
    count_bytes(b"<testsuite>" + data + b"</testsuite>")
