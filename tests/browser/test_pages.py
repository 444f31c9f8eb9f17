"""Each page in a real browser: readable, reachable, quiet, and alive without moving under the reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace
from playwright.sync_api import Browser, BrowserContext, Page, expect

from poise.web import links, pages

pytestmark = pytest.mark.browser

SHOTS = Path(__file__).parents[2] / "build" / "screenshots"
PHONE = {"width": 360, "height": 740}

RENDER: dict[str, Callable[[Any], str]] = {
    "overview": lambda s: pages.overview(s.overview()),
    "service": lambda s: pages.service(s.service()),
    "service-held": lambda s: pages.service(s.held_service()),
    "service-previews": lambda s: pages.service(s.previewed_service()),
    "rollout-held": lambda s: pages.rollout(s.held_rollout()),
    "objective": lambda s: pages.objective(s.objective()),
    "objective-young": lambda s: pages.objective(s.objective("young")),
    "objective-overspent": lambda s: pages.objective(s.objective("overspent")),
    "objective-composite": lambda s: pages.objective(s.objective("composite")),
    "run": lambda s: pages.run(s.run()),
    "run-live": lambda s: pages.run(s.run(live=True)),
    "rollout": lambda s: pages.rollout(s.rollout()),
    "audit": lambda s: pages.audit(s.audit()),
    "login": lambda s: pages.login(s.login()),
    "error": lambda s: pages.error(s.error()),
    "scorecard": lambda s: pages.scorecard(s.scorecard()),
    "oncall": lambda s: pages.oncall(s.oncall()),
    "oncall-hole": lambda s: pages.oncall(s.oncall("18:00")),
    "delivery": lambda s: pages.delivery(s.delivery()),
    "delivery-blind": lambda s: pages.delivery(s.delivery(problem="the query took longer than 5 s")),
    "empty": lambda s: pages.empty(s.empty()),
    "incidents": lambda s: pages.incidents(s.incidents()),
    "incident": lambda s: pages.incident(s.incident()),
    "review": lambda s: pages.review(s.review()),
    "review-preview": lambda s: pages.review(replace(s.review(), draft="Half a **thought**.")),
    "no-review": lambda s: pages.no_review(s.no_review()),
    "event": lambda s: pages.event(s.event()),
    "logs": lambda s: pages.output(s.output()),
    "logs-live": lambda s: pages.output(s.output(live=True)),
    "logs-problem": lambda s: pages.output(s.output(problem=True)),
    "traces": lambda s: pages.traces(s.traces()),
    "traces-none": lambda s: pages.traces(s.no_traces()),
    "trace": lambda s: pages.trace(s.trace()),
    "records": lambda s: pages.records(s.found_records()),
}


def message(n: int, text: str) -> tuple[str, str]:
    """One log line as the API sends it."""
    return ("message", json.dumps({"n": n, "text": text}))


def open_page(context: BrowserContext, site: Any, html: str) -> tuple[Page, list[str]]:
    """The page, and everything that the browser complained of or asked of others."""
    site.pages["/page"] = html
    page = context.new_page()
    trouble: list[str] = []
    page.on("console", lambda said: trouble.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda raised: trouble.append(str(raised)))
    page.on("request", lambda sent: None if sent.url.startswith(site.url) else trouble.append(sent.url))
    page.on("dialog", lambda dialog: (trouble.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.goto(f"{site.url}/page")
    return page, trouble


def press_access_key(page: Page, key: str) -> None:
    """Alt and a letter as a keyboard sends it; Playwright's own press leaves out the character."""
    session = page.context.new_cdp_session(page)
    code = {
        "modifiers": 1,
        "key": key,
        "code": f"Key{key.upper()}",
        "windowsVirtualKeyCode": ord(key.upper()),
    }
    session.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **code})
    session.send("Input.dispatchKeyEvent", {"type": "char", "unmodifiedText": key, "text": key, **code})
    session.send("Input.dispatchKeyEvent", {"type": "keyUp", **code})
    session.detach()


def violations(page: Page, axe_source: str) -> list[str]:
    """What axe has against the page; evaluated, so that the page's own policy stays strict."""
    page.evaluate(axe_source)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", RENDER)
def test_a_page_is_accessible_and_quiet(
    name: str, scheme: Any, site: Any, browser: Browser, samples: ModuleType, axe_source: str
) -> None:
    """No violation, no console message and no foreign request, wide and narrow, light and dark."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": 1280, "height": 1000}, timezone_id="UTC"
    )
    try:
        page, trouble = open_page(context, site, RENDER[name](samples))
        assert violations(page, axe_source) == []
        page.screenshot(path=SHOTS / f"{name}-{scheme}.png", full_page=True)
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        assert violations(page, axe_source) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.screenshot(path=SHOTS / f"{name}-{scheme}-360.png", full_page=True)
        assert trouble == []
    finally:
        context.close()


@pytest.mark.parametrize("name", RENDER)
def test_the_keyboard_reaches_every_control(
    name: str, site: Any, context: BrowserContext, samples: ModuleType
) -> None:
    """Someone without a mouse can do all that someone with one can, and sees where they are."""
    page, _ = open_page(context, site, RENDER[name](samples))
    wanted = page.evaluate(
        """() => [...document.querySelectorAll('a[href], button, summary, input:not([type=hidden])')]
            .filter(e => e.checkVisibility()).length"""
    )
    reached = set()
    for _ in range(wanted + 60):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => { const e = document.activeElement; const all = [...document.querySelectorAll('*')];
                const outlined = getComputedStyle(e).outlineStyle !== 'none';
                const control = e.matches('a[href], button, summary, input');
                return [all.indexOf(e), outlined, control]; }"""
        )
        if seen[2]:
            assert seen[1], "focus cannot be seen"
            reached.add(seen[0])
    assert len(reached) == wanted


def test_an_act_asks_for_a_reason_by_keyboard_alone(
    site: Any, context: BrowserContext, samples: ModuleType
) -> None:
    """Alt+p, the reason, Enter: promoted, with the reader's token against forgery."""
    page, trouble = open_page(context, site, pages.rollout(samples.rollout()))
    press_access_key(page, "p")
    expect(page.locator("#act-promote-reason")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert site.posted == [], "it went without a reason"
    page.locator("#act-promote-reason").fill("the campaign starts at noon")
    page.locator("#act-promote button[type=submit]").press("Enter")
    page.wait_for_url("**/act/promote/**")
    assert site.posted == [
        (
            "/act/promote/acme/production/storefront",
            {"csrf": "c5rf-t0ken", "rollout": "44", "reason": "the campaign starts at noon"},
        )
    ]
    assert trouble == []


def test_a_hold_is_answered_by_keyboard_alone(site: Any, browser: Browser, samples: ModuleType) -> None:
    """On a phone: what holds it, what a grant allows, a reason, an end, Enter; refused without a reason."""
    context = browser.new_context(viewport={"width": 360, "height": 740})
    try:
        page, trouble = open_page(context, site, pages.rollout(samples.held_rollout()))
        press_access_key(page, "a")
        form = page.locator("#act-approval")
        expect(page.locator("#act-approval-reason")).to_be_focused()
        expect(form).to_contain_text("availability's budget is spent (-7 % is left)")
        expect(form).to_contain_text("goes slowly: at most 4 % of the traffic at first")
        box = form.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 360
        page.locator("#act-approval button[type=submit]").press("Enter")
        assert site.posted == [], "it went without a reason"
        page.keyboard.press("Escape")
        expect(form).to_be_hidden()
        press_access_key(page, "a")
        page.keyboard.type("looked at the diff")
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/permits/**")
        (said,) = site.posted
        assert said[0] == "/permits/acme/production/storefront/ask"
        assert (said[1]["reason"], said[1]["kind"], said[1]["rollout"]) == (
            "looked at the diff", "approval", "44",
        )  # fmt: skip
        assert (said[1]["expires_s"], said[1]["digest"]) == ("14400", "sha256:4f")
        assert trouble == []
    finally:
        context.close()


def test_a_branch_is_stopped_by_keyboard_alone(site: Any, browser: Browser, samples: ModuleType) -> None:
    """On a phone: Tab to the button of the branch, Enter, a reason, Enter; refused without a reason."""
    context = browser.new_context(viewport={"width": 360, "height": 740})
    try:
        page, trouble = open_page(context, site, pages.service(samples.previewed_service()))
        button = page.get_by_role("button", name="Stop feature/login-2")
        page.get_by_role("link", name="feature/login-2").focus()
        for _ in range(3):  # its run, its logs
            page.keyboard.press("Tab")
        expect(button).to_be_focused()
        expect(button).to_be_in_viewport(ratio=1)
        page.keyboard.press("Enter")
        form = page.locator("#stop-feature-login-2")
        expect(form).to_contain_text("the previews of feature/login-2, of every service")
        box = form.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 360
        form.locator("button[type=submit]").press("Enter")
        assert site.posted == [], "it went without a reason"
        page.locator("#stop-feature-login-2-reason").focus()
        page.keyboard.type("seen enough")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/previews/**")
        assert site.posted == [
            (
                "/services/acme/production/storefront/previews/feature-login-2/stop",
                {"csrf": "c5rf-t0ken", "once": "0", "reason": "seen enough"},
            )
        ]
        assert trouble == []
    finally:
        context.close()


def test_a_change_shows_in_place_and_moves_nothing(
    site: Any, context: BrowserContext, samples: ModuleType
) -> None:
    """An open table, typed text and the scroll position outlive an update."""
    view = samples.service()
    page, trouble = open_page(context, site, pages.service(view))
    page.locator("#chart-table > summary").click()
    press_access_key(page, "v")
    page.locator("#act-override-reason").fill("half a sentence")
    page.evaluate("scrollTo(0, 300)")
    site.pages["/page"] = pages.service(replace(view, sentence="31 % of the budget is left."))
    site.changed.set()
    expect(page.locator(".say")).to_contain_text("31 % of the budget is left.")
    assert page.locator("#act-override-reason").input_value() == "half a sentence"
    assert page.locator("#chart-table").get_attribute("open") is not None
    assert page.evaluate("scrollY") == 300
    assert site.followed[0] == (
        f"{links.EVENTS}?after=4812&subject=acme%2Fproduction%2Fstorefront&subject=acme%2F%7E"
    )
    assert trouble == []


def test_a_live_log_takes_a_burst_and_forgets_the_oldest(
    site: Any, context: BrowserContext, samples: ModuleType
) -> None:
    """Two thousand lines at once, repeats dropped, escape sequences out, then the end."""
    burst = [message(n, f"\x1b[32mline {n}\x1b[0m") for n in range(4, 2_004)]
    site.streams[links.run_log("acme", 61)] = [*burst, ("end", "{}")]
    html = pages.run(samples.run(live=True)).replace('data-max="5000"', 'data-max="1500"')
    page, trouble = open_page(context, site, html)
    expect(page.locator("#log-state")).to_have_text("The log is complete: 2003 lines.")
    expect(page.locator("#L2003 code")).to_have_text("line 2003")
    expect(page.locator("#log > div")).to_have_count(1500)
    assert page.locator("#L4").count() == 0
    assert page.evaluate(
        "(e => e.scrollTop + e.clientHeight >= e.scrollHeight - 2)(document.getElementById('log'))"
    )
    assert trouble == []


def test_output_is_followed_and_every_line_is_only_text(
    site: Any, context: BrowserContext, samples: ModuleType
) -> None:
    """Replicas print whatever they like: it comes in order, is escaped, and the oldest goes."""
    lines = [
        {
            "source": "44-0",
            "offset": n,
            "text": f"<b>line {n}</b>",
            "at": "2026-11-28T09:35:00Z",
            "cut_chars": 0,
        }
        for n in range(2_000)
    ]
    news = {"items": lines, "cursor": "e30", "skipped_bytes": 3_145_728}
    site.streams[links.log_stream("acme/production/storefront")] = [("message", json.dumps(news))]
    html = pages.output(samples.output(live=True)).replace('data-max="5000"', 'data-max="1500"')
    page, trouble = open_page(context, site, html)
    expect(page.locator("#log > div")).to_have_count(1500)
    expect(page.locator("#log > div:last-child code")).to_have_text("<b>line 1999</b>")
    expect(page.locator("#log > div:last-child a")).to_have_attribute(
        "href", "/logs/acme/production/storefront?line=44-0%401999#hit"
    )
    assert page.evaluate(
        "(e => e.scrollTop + e.clientHeight >= e.scrollHeight - 2)(document.getElementById('log'))"
    )
    assert any("cursor=e30" in one for one in site.followed)
    assert trouble == []


def test_logs_are_searched_by_keyboard_alone(site: Any, context: BrowserContext, samples: ModuleType) -> None:
    """Alt+f, an expression, Enter: an address that can be sent to someone."""
    site.pages["/logs/acme/production/storefront"] = html = pages.output(samples.output())
    page, _ = open_page(context, site, html)
    press_access_key(page, "f")
    expect(page.locator("#ask-grep")).to_be_focused()
    page.keyboard.type("declined|5..$")
    page.keyboard.press("Enter")
    page.wait_for_url("**/logs/acme/production/storefront?*")
    assert "grep=declined%7C5..%24&since=10m" in page.url


def test_a_line_has_an_address(site: Any, context: BrowserContext, samples: ModuleType) -> None:
    """The first error is one key away and its address can be sent to someone."""
    page, _ = open_page(context, site, pages.run(samples.run()))
    press_access_key(page, "e")
    page.wait_for_url("**#L6")
    expect(page.locator("#L6")).to_be_in_viewport()


def test_the_crosshair_reads_the_table(site: Any, context: BrowserContext, samples: ModuleType) -> None:
    """The chart's figures can be had by pointer and by arrow keys."""
    page, trouble = open_page(context, site, pages.service(samples.service()))
    page.locator(".chart svg").hover(position={"x": 400, "y": 120})
    expect(page.locator(".readout")).to_contain_text("budget left")
    before = page.locator(".readout").inner_text()
    page.locator("[aria-label^='Chart of']").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".readout").inner_text() != before
    assert trouble == []


def test_the_timeline_reads_every_services_step_by_keyboard(
    site: Any, context: BrowserContext, samples: ModuleType
) -> None:
    """One press tells what the users of all services got at that moment."""
    page, trouble = open_page(context, site, pages.delivery(samples.delivery()))
    page.locator(".scroll:has(svg[data-chart])").focus()
    page.keyboard.press("ArrowLeft")
    told = page.locator(".readout")
    expect(told).to_contain_text("28 Nov 09:40: storefront · production 0.06 %, 45 ms / 203 ms, payments")
    expect(page.locator(".cross")).to_have_attribute("x1", "826")
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
    expect(told).to_contain_text("storefront · production 3.4 %")
    assert trouble == []


def test_instants_are_local_with_utc_at_hand(site: Any, browser: Browser, samples: ModuleType) -> None:
    """Someone in Kolkata reads their own clock and can check it against the journal's."""
    context = browser.new_context(timezone_id="Asia/Kolkata")
    try:
        page, _ = open_page(context, site, pages.service(samples.service()))
        time = page.locator("#gate time").first
        expect(time).to_have_text("24 Nov 15:05")
        assert time.get_attribute("title") == "24 Nov 2026 09:35:00 UTC"
    finally:
        context.close()


def test_stored_scripts_stay_text(site: Any, context: BrowserContext, samples: ModuleType) -> None:
    """A hostile commit message in the live log and the page runs nothing."""
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    view = replace(samples.run(live=True), summary=hostile, sentence=hostile, branch=hostile)
    site.streams[links.run_log("acme", 61)] = [message(5, hostile), ("end", "{}")]
    page, trouble = open_page(context, site, pages.run(view))
    expect(page.locator("#L5 code")).to_have_text(hostile)
    assert page.locator("main img, main script").count() == 0
    assert trouble == []
