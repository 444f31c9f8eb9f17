"""What strangers store (commits, branches, notes, alerts, reasons, reviews) is read by people, never run."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace
from playwright.sync_api import BrowserContext, Page

from poise.web import pages

pytestmark = pytest.mark.browser

CORPUS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "'><body onpageshow=alert(1)>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</style><style>*{display:none}</style>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1) 'x')",
    "[click](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[click](//evil.example/x)",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    "![x](https://evil.example/pixel.png)",
    '![x](x "onerror=alert(1)")',
    '[^1]\n\n[^1]: `event/1"onmouseover=alert(1)`',
    '`Incident/x"onfocus=alert(1)autofocus=`',
    "```<script>\nalert(1)\n```\n<script>alert(1)</script>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example/>",
    "<form action=https://evil.example><button autofocus>x</button></form>",
    "<details open ontoggle=alert(1)>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "{{constructor.constructor('alert(1)')()}}",
    "\u202e<script>alert(1)</script>\u202c",
    "javascript:alert(1)",
)


def dirty(samples: ModuleType, text: str) -> dict[str, str]:
    """Every page that shows strangers' words, with ``text`` wherever they write them."""
    one, review, audit = samples.incident(), samples.review(), samples.audit()
    suspect = one.suspects[0]
    proof = replace(suspect.proofs[0], text=text)
    suspect = replace(suspect, summary=text, proofs=(proof,), href=text)
    room = replace(
        one,
        title=text,
        sentence=text,
        acknowledged_by=text,
        diagnosis=text,
        paging_problem=text,
        suspects=(suspect,),
        cleared=(suspect,),
        pages=tuple(replace(page, address=text, problem=text) for page in one.pages),
        entries=tuple(replace(entry, sentence=text, actor=text, href=text) for entry in one.entries),
    )
    rows = tuple(replace(row, title=text, acknowledged_by=text) for row in samples.incidents().rows)
    actions = tuple(replace(act, text=text, owner=text, verification=text) for act in review.actions)
    overview = samples.overview()
    runs = tuple(replace(run, summary=text, branch=text) for run in overview.runs)
    service = samples.service()
    return {
        "incident": pages.incident(room),
        "incidents": pages.incidents(replace(samples.incidents(), rows=rows)),
        "review": pages.review(replace(review, text=text, actions=actions, message=text)),
        "preview": pages.review(replace(review, draft=text)),
        "event": pages.event(replace(samples.event(), summary=text, data=(("reason", text), (text, text)))),
        "overview": pages.overview(replace(overview, runs=runs, incidents=rows[:1])),
        "run": pages.run(replace(samples.run(), summary=text, branch=text, author=text)),
        "journal": pages.audit(
            replace(
                audit, events=tuple(replace(e, summary=text, actor=text, href=text) for e in audit.events)
            )
        ),
        "service": pages.service(
            replace(service, changes=tuple(replace(c, summary=text, href=text) for c in service.changes))
        ),
    }


FOUND = """() => {
  const main = document.querySelector("main");
  const bad = [...main.querySelectorAll("script, img, iframe, style, meta, base, object, embed, math")];
  const found = bad.map((element) => element.outerHTML.slice(0, 200));
  for (const element of document.querySelectorAll("*")) {
    for (const { name, value } of element.attributes) {
      if (name.startsWith("on")) found.push(`${name}=${value}`);
      if (!["href", "xlink:href", "src", "action", "formaction"].includes(name)) continue;
      const url = new URL(value, location.href);
      const isWritten = element.matches(".prose a[rel~=noopener]");
      if (isWritten && url.protocol === "https:") continue;
      if (url.origin !== location.origin) found.push(`${name}=${value}`);
    }
  }
  return found;
}"""


def watched(context: BrowserContext, site: Any) -> tuple[Page, list[str]]:
    """A page, and everything that it did or complained of."""
    page, trouble = context.new_page(), list[str]()
    page.on("console", lambda said: trouble.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda raised: trouble.append(str(raised)))
    page.on("request", lambda sent: None if sent.url.startswith(site.url) else trouble.append(sent.url))
    page.on("dialog", lambda dialog: (trouble.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.add_init_script(
        "addEventListener('securitypolicyviolation', e => console.error('policy', e.violatedDirective))"
    )
    return page, trouble


def test_what_strangers_store_never_runs(site: Any, context: BrowserContext, samples: ModuleType) -> None:
    """No dialog, no report of the policy, no console error, no foreign address, no element of theirs."""
    page, trouble = watched(context, site)
    for text in CORPUS:
        for name, html in dirty(samples, text).items():
            site.pages["/page"] = html
            page.goto(f"{site.url}/page", wait_until="load")
            assert page.evaluate(FOUND) == [], (name, text)
            assert trouble == [], (name, text)


def test_the_watch_itself_sees_a_script(site: Any, context: BrowserContext) -> None:
    """A test that could not fail would prove nothing."""
    page, trouble = watched(context, site)
    site.pages["/page"] = "<!doctype html><main><img src=x onerror=alert(1)><script>alert(1)</script></main>"
    page.goto(f"{site.url}/page", wait_until="load")
    assert len(page.evaluate(FOUND)) == 3
    assert any("policy" in said for said in trouble)
