"""Markdown that people wrote, as HTML that can do nothing: no HTML of theirs, no image, no foreign scheme.

Evidence stays within reach: a note ``[^3]`` and a code span that is an id (``event/17``, ``Kind/key``) are
links to what they name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from markupsafe import Markup

from poise.web import links

TEXT_MAX: Final = 200_000
_NOTE_LINE: Final = re.compile(r"^\[\^(\d{1,5})\]: `([^`\n]{1,300})`[ \t]*$", re.MULTILINE)
_NOTE: Final = re.compile(r"\[\^(\d{1,5})\]")
_PLACE: Final = re.compile(r"event/\d{1,15}|[A-Z][A-Za-z]{2,30}/[^\s`]{1,250}")


def rendered(text: str, project: str) -> Markup:
    """The text as HTML to put into a page of ``project``. Headings begin at the second level."""
    cut = text[:TEXT_MAX]
    notes = dict(_NOTE_LINE.findall(cut))
    body = _NOTE_LINE.sub("", cut)
    env = {"notes": notes, "project": project}
    return Markup(_renderer().render(body, env))  # noqa: S704 - made by the renderer below, which escapes


@cache
def _renderer() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 20})
    made.enable("table").disable("image")
    made.validateLink = is_harmless  # type: ignore[assignment, method-assign]
    for name, rule in (
        ("text", _text),
        ("code_inline", _code),
        ("link_open", _link_open),
        ("heading_open", _heading),
        ("heading_close", _heading),
        ("table_open", _table_open),
        ("table_close", _table_close),
        ("fence", _block),
        ("code_block", _block),
    ):
        made.add_render_rule(name, rule)
    return made


def is_harmless(href: str) -> bool:
    """Whether a link may be followed: http(s), or a place on this server.

    >>> is_harmless("https://example.org"), is_harmless("/audit"), is_harmless("javascript:alert(1)")
    (True, True, False)
    """
    try:
        parts = urlsplit(href.strip())
    except ValueError:
        return False
    if parts.scheme.lower() in ("http", "https"):
        return bool(parts.netloc)
    return links.own(href) is not None


def _text(_self: Any, tokens: Sequence[Token], index: int, _options: Any, env: Any) -> str:
    made, last, text = [], 0, tokens[index].content
    for found in _NOTE.finditer(text):
        made.append(escapeHtml(text[last : found.start()]))
        place = env["notes"].get(found[1])
        shown = f"<sup>{_link(place, found[1], env['project'])}</sup>" if place else escapeHtml(found[0])
        made.append(shown)
        last = found.end()
    return "".join(made) + escapeHtml(text[last:])


def _code(_self: Any, tokens: Sequence[Token], index: int, _options: Any, env: Any) -> str:
    content = tokens[index].content
    inner = f"<code>{escapeHtml(content)}</code>"
    href = links.own(links.evidence(content, env["project"])) if _PLACE.fullmatch(content) else None
    return f'<a href="{escapeHtml(href)}">{inner}</a>' if href else inner


def _link(place: str, shown: str, project: str) -> str:
    """A note's number, as a link to its evidence."""
    href, label = links.own(links.evidence(place, project) or ""), escapeHtml(place)
    if not href:
        return f'<span title="{label}">{escapeHtml(shown)}</span>'
    return f'<a href="{escapeHtml(href)}" title="{label}">{escapeHtml(shown)}</a>'


def _link_open(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    return str(self.renderToken(tokens, index, options, env))


def _heading(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    level = min(6, int(tokens[index].tag[1]) + 1)  # the page has its own first heading
    tokens[index].tag = f"h{level}"
    return str(self.renderToken(tokens, index, options, env))


def _block(_self: Any, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
    return f'<pre class="command" tabindex="0"><code>{escapeHtml(tokens[index].content)}</code></pre>\n'


def _table_open(*_given: Any) -> str:
    return '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>'


def _table_close(*_given: Any) -> str:
    return "</table></div>\n"
