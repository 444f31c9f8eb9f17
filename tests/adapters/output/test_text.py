"""What of raw output may be shown: text, whatever the bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.adapters.masking import Masker
from poise.adapters.output.text import Block, clean, is_plain
from poise.adapters.sealing import Sealer


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain\ttext", "plain\ttext"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b[2J\x1b[Hcleared", "cleared"),
        (" 1 %\r 50 %\r 100 %", " 100 %"),
        ("done\r", "done"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("bell\x07 back\x08 nul\x00", "bell back nul"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\x9b31mC1", "31mC1"),
        ("naïve ünïcode 🦊", "naïve ünïcode 🦊"),
    ],
)
def test_only_text_is_left(raw: str, shown: str) -> None:
    """A replica must not be able to rewrite the reader's terminal, title or clipboard."""
    assert clean(raw) == shown


@given(st.binary(max_size=200))
def test_whatever_the_bytes_no_control_character_is_shown(raw: bytes) -> None:
    """Neither in a block that is cleaned nor in one that is taken for plain; and no line is lost."""
    masker = Masker(Sealer(bytes(32)))
    shown = Block(raw, 0, masker).shown.decode()
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in shown)
    assert not any(0x7F <= ord(letter) <= 0x9F for letter in shown)
    assert shown.count("\n") == raw.count(b"\n")
    if is_plain(raw, masker):
        assert shown.encode() == raw
