"""Texts with a pattern that several kinds of document share."""

from __future__ import annotations

from typing import Final

from poise.spec import limits
from poise.spec.shape import (
    Integer,
    ListOf,
    MapOf,
    Text,
)

NAME: Final = Text(
    pattern=r"[a-z]([a-z0-9-]*[a-z0-9])?",
    hint="A name has lower-case letters, digits and hyphens, and starts with a letter.",
    max_chars=limits.NAME_CHARS,
)
ENV_NAME: Final = Text(
    pattern=r"[A-Za-z_][A-Za-z0-9_]*",
    hint="A variable's name has letters, digits and underscores, and starts with no digit.",
    max_chars=200,
)
ENV: Final = MapOf(name=ENV_NAME, value=Text(any_scalar=True), high=limits.ENV_ENTRIES)
BRANCH: Final = Text(
    pattern=r"(?!.*(?:\.\.|//|@\{))[A-Za-z0-9_][A-Za-z0-9_./-]*(?<![./])",
    hint="A branch is written without spaces and without 'refs/heads/'.",
    max_chars=200,
)
COMMAND: Final = Text(pattern=r"[\s\S]*\S[\s\S]*", hint="A command must not be blank.")
IMAGE: Final = Text(
    pattern=r"([A-Za-z0-9.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})",
    hint="An image has a tag or a digest, not both: 'registry.example/shop:1.4' or 'shop@sha256:...'.",
    max_chars=300,
)
HOSTNAME: Final = Text(
    pattern=r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*",
    hint="A host name has lower-case letters, digits, hyphens and dots.",
    max_chars=253,
)
URL: Final = Text(
    pattern=r"https?://[^\s/?#@]+(/[!-~]*)?",
    hint="A URL starts with 'http://' or 'https://' and has no spaces and no password.",
    max_chars=1000,
)
HTTP_PATH: Final = Text(pattern=r"/[!-~]*", hint="A path starts with '/' and has no spaces.", max_chars=1000)
FOLDER: Final = Text(
    pattern=r"(?!/)(?!(?:.*/)?\.\.(?:/|$))[^\x00-\x1f\\]+",
    hint="A folder is relative to the repository and has no '..'.",
    max_chars=1000,
)
STEPS: Final = ListOf(item=Integer(low=1, high=99), low=1, high=limits.STEPS_PERCENT, ascending=True)
