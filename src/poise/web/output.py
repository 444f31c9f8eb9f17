"""The page of logs: what was printed, searched and as it comes. Without a script it is a form and a list."""

from __future__ import annotations

from urllib.parse import urlencode

import htpy as h

from poise.model.output import OutputLine
from poise.web.output_views import OutputView
from poise.web.parts import card, document, link
from poise.web.wording import moment, plural

SHOWN_MAX = 5_000
"""Lines on the page; of what follows, the newest."""
_CONTEXTS = ("0", "2", "5", "20")


def output(view: OutputView) -> str:
    """The page of logs as a document."""
    main = h.fragment[
        h.h1["Logs of ", view.name, " ", h.small["· ", link(*view.back)]],
        h.p(".say")[_sentence(view)],
        view.problem and h.p("#problem.problem", role="alert")[view.problem, " ", view.mend],
        card("Search", _form(view)),
        _log(view),
    ]
    return document(view.chrome, f"Logs of {view.title}", main, scripts=("output.js",))


def _sentence(view: OutputView) -> str:
    page, found = view.page, sum(not line.is_context for line in view.page.items)
    if view.problem:
        return "Nothing was searched."
    if view.asked.get("line"):
        return page.shortened or "One line and those around it."
    if not page.sources:
        return "Nothing was printed here."
    searched = f"{page.searched_bytes / 2**20:,.1f} MiB of {plural(len(page.sources), 'file')}"
    said = f"{plural(found, 'line')}; {searched} read in {page.took_ms:,.0f} ms."
    return f"{said} {page.shortened}".strip()


def _form(view: OutputView) -> h.Element:
    asked = view.asked
    return h.form(".search", method="get", action=view.here, role="search", aria_label="Search these logs")[
        _field(
            "grep", "Expression (RE2)", asked, type="search", accesskey="f", spellcheck="false",
            aria_invalid="true" if view.problem else None,
            aria_describedby="problem" if view.problem else None,
        ),
        _field("since", "Since, e.g. 10m", asked),
        _field("until", "Until", asked),
        _choice(view.choice, view.choice.capitalize(), ("", *view.choices), asked, "all"),
        _choice("context", "Lines around", _CONTEXTS, asked),
        h.label(".check")[
            h.input(type="checkbox", name="i", value="1", checked=asked.get("i") == "1"), " Ignore case"
        ],
        h.button(".primary", type="submit")["Search"],
    ]  # fmt: skip


def _field(name: str, label: str, asked: dict[str, str], type: str = "text", **more: str | None) -> h.Node:
    shown = [label, " ", h.kbd[more["accesskey"]]] if more.get("accesskey") else label
    return h.div[
        h.label(for_=f"ask-{name}")[shown],
        h.input(f"#ask-{name}", type=type, name=name, value=asked.get(name, ""), maxlength="1000", **more),
    ]


def _choice(name: str, label: str, values: tuple[str, ...], asked: dict[str, str], empty: str = "") -> h.Node:
    chosen = asked.get(name, values[0])
    known = values if chosen in values else (*values, chosen)
    return h.div[
        h.label(for_=f"ask-{name}")[label],
        h.select(f"#ask-{name}", name=name)[
            (h.option(value=value, selected=value == chosen)[value or empty] for value in known)
        ],
    ]


def _log(view: OutputView) -> h.Element:
    shown = view.page.items[-SHOWN_MAX:]
    hit = view.asked.get("line", "")
    state = "Live: new lines come by themselves." if view.stream else "This is what was printed until now."
    return h.section("#log-card")[
        h.h2["Output"],
        h.p(".logbar")[
            h.span("#log-state", role="status")[state],
            h.a(href=f"{view.here}?{urlencode(view.asked)}" if view.asked else view.here)["Read again"],
            bool(hit) and h.a(href="#hit")["The line"],
            h.a(href="#log-end", accesskey="l")["End ", h.kbd["l"]],
        ],
        h.div(
            "#log.log.output",
            tabindex="0",
            role="log",
            aria_live="off",
            aria_label="Output",
            data_stream=view.stream or None,
            data_cursor=view.page.cursor if view.stream else None,
            data_here=view.here,
            data_max=str(SHOWN_MAX),
        )[(_line(view.here, line, hit) for line in shown)],
        h.span("#log-end"),
    ]


def _line(here: str, line: OutputLine, hit: str) -> h.Element:
    address = f"{line.source}@{line.offset}"
    is_hit = bool(hit) and not line.is_context
    more = f" … {line.cut_chars:,} characters more" if line.cut_chars else ""
    return h.div(id="hit" if is_hit else None, class_="context" if line.is_context and not hit else None)[
        h.a(href=f"{here}?{urlencode({'line': address})}#hit", aria_label=f"Line {address}")[
            moment(line.at, "second")
        ],
        h.span(".source")[line.source],
        h.code[(line.text + more) or " "],
    ]
