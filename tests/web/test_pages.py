"""Pages are pure: what matters is said first, in words, and nothing that is stored becomes markup."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from html.parser import HTMLParser
from itertools import combinations
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import asdict, replace

from poise.model.balance import VerdictKind
from poise.web import assets, flags, graph, links, overview_views, pages, run_views, wording
from poise.web import views as v
from poise.web.run import first_error

PAGES = ("overview", "service", "objective", "run", "rollout", "audit", "login", "error", "empty",
         "scorecard", "oncall", "delivery", "incidents", "incident",
         "review", "no_review", "event")  # fmt: skip
PAGE_BYTES_MAX = 150_000


@dataclass
class Seen:
    """What a parser sees in a page."""

    tags: list[str]
    attributes: list[tuple[str, str, str]]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen([], [])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.tags.append(tag)
        self.seen.attributes += [(tag, name, value or "") for name, value in attrs]


def read(html: str) -> Seen:
    reader = _Reader()
    reader.feed(html)
    return reader.seen


def render(name: str, view: Any) -> str:
    return getattr(pages, name)(view)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_obeys_its_own_policy(name: str, samples: ModuleType) -> None:
    """A style, handler or script in the page would be dead under the policy, so there is none."""
    seen = read(render(name, getattr(samples, name)()))
    assert "style" not in seen.tags
    assert not [a for a in seen.attributes if a[1] == "style" or a[1].startswith("on")]
    for tag, attribute, value in seen.attributes:
        if attribute in ("src", "href", "action"):
            assert value.startswith(("/", "#")) and not value.startswith("//"), (tag, attribute, value)
    assert seen.tags.count("h1") == 1


@pytest.mark.parametrize("name", PAGES)
def test_the_same_view_gives_the_same_bytes(name: str, samples: ModuleType) -> None:
    """Otherwise a live update would move things for nothing."""
    view = getattr(samples, name)()
    html = render(name, view)
    assert html == render(name, view)
    assert len(html.encode()) < PAGE_BYTES_MAX


def test_200_services_fit_in_150_kilobytes(samples: ModuleType) -> None:
    """A large installation's overview still opens on a train."""
    assert len(pages.overview(samples.overview(200)).encode()) < PAGE_BYTES_MAX


def test_the_overview_says_who_needs_you_worst_first(samples: ModuleType) -> None:
    """The first line is the answer; the first row is where to go."""
    html = pages.overview(samples.overview())
    assert "3 of 14 services need you, storefront first: availability burns 14.7× too fast" in html
    names = re.findall(r'class="name"[^>]*>([^<]+)', html)
    assert names[:4] == ["storefront", "mail", "search", "catalog"]


def test_a_row_of_the_overview_shows_the_budget_its_trend_and_the_way_to_its_page(
    samples: ModuleType,
) -> None:
    """How much is left matters less than how fast it goes."""
    html = pages.overview(samples.overview())
    assert 'href="/services/acme/production/storefront/objectives/availability">-7 %</a>' in html
    assert "-8.1 % in 6 h" in html and ">elsewhere<" in html


def test_a_burn_needs_somebody_whatever_the_gate_says(samples: ModuleType) -> None:
    """The gate looks at what is left; a page-worthy burn is about what will be."""
    row = replace(samples.overview().services[2], burning="availability burns 20× too fast.")
    html = pages.overview(overview_views.OverviewView(chrome=samples.chrome(), services=(row,)))
    assert "1 of 1 service needs you" in html


def test_a_service_that_runs_elsewhere_promises_no_act_that_cannot_be(samples: ModuleType) -> None:
    """Poise cannot restart what it does not run; it can answer the gate."""
    html = pages.service(
        replace(samples.service(), elsewhere=True, running=(), changes=(), can_roll_back=False)
    )
    assert "poise gate check -s storefront" in html
    assert "/act/restart/" not in html and "Nothing runs yet" not in html and "/logs/" not in html
    assert "/permits/acme/production/storefront/ask" in html


def test_a_calm_overview_says_so(samples: ModuleType) -> None:
    """Silence is an answer too."""
    row = replace(samples.overview().services[2], verdict=VerdictKind.GO)
    html = pages.overview(overview_views.OverviewView(chrome=samples.chrome(), services=(row,)))
    assert "No service needs you: all 1 may ship." in html


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "</title><svg/onload=alert(1)>",
    "</textarea><script>alert(1)</script>",
    "javascript:alert(1)",
    "//evil.example/x",
    "&lt;script&gt;",
    "\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07",
)


def poison(value: Any, text: str) -> Any:
    """The same view with every string in it hostile."""
    if isinstance(value, str) and type(value) is str:
        return text
    if isinstance(value, Struct):
        return type(value)(**{name: poison(field, text) for name, field in asdict(value).items()})
    if isinstance(value, tuple):
        return tuple(poison(item, text) for item in value)
    return value


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", PAGES)
def test_nothing_stored_becomes_markup(name: str, hostile: str, samples: ModuleType) -> None:
    """Commit messages, branches, names and log lines come from strangers."""
    view = getattr(samples, name)()
    clean, dirty = read(render(name, poison(view, "word"))), read(render(name, poison(view, hostile)))
    assert "img" not in dirty.tags
    assert dirty.tags.count("script") == clean.tags.count("script")
    for tag, attribute, value in dirty.attributes:
        assert not attribute.startswith("on")
        if attribute in ("href", "src", "action"):
            assert value.startswith(("/", "#")) and not value.startswith("//"), (tag, attribute, value)


def test_acts_are_hidden_from_those_who_may_not(samples: ModuleType) -> None:
    """A button that would be refused is a false promise."""
    view = samples.rollout()
    assert "/act/promote/" in pages.rollout(view)
    assert "/act/" not in pages.rollout(replace(view, chrome=replace(view.chrome, may_act=False)))


def test_unknown_is_never_shown_as_zero_or_go(samples: ModuleType) -> None:
    """A service that nobody measures must not look well."""
    view = replace(samples.service(), verdict=None, budget_left_ratio=None, chart=None, objectives=())
    html = pages.service(view)
    assert 'class="pill unknown"' in html and 'class="pill go"' not in html
    assert "budget not measured" in html


def test_a_gap_in_the_data_is_a_gap_in_the_line(samples: ModuleType) -> None:
    """A line through unknown time would be an invention."""
    assert len(re.findall(r'class="eline"', pages.service(samples.service()))) == 2


def test_a_log_shows_its_newest_lines_and_says_what_it_hides(samples: ModuleType) -> None:
    """A page with a million lines opens for nobody."""
    lines = tuple(run_views.LogLine(n=n, text="x") for n in range(1, run_views.LOG_LINES_MAX + 11))
    html = pages.run(replace(samples.run(), lines=lines))
    assert "10 earlier lines not shown" in html and 'id="L10"' not in html and 'id="L11"' in html


def test_the_first_error_is_found_and_no_errors_is_none() -> None:
    """Jumping to "0 errors" would teach people not to jump."""
    lines = [
        run_views.LogLine(n=1, text="0 errors"),
        run_views.LogLine(n=2, text="ValueError: no"),
        run_views.LogLine(n=3, text="failed"),
    ]
    assert first_error(lines) == 2
    assert first_error(lines[:1]) is None


@given(
    st.lists(st.tuples(st.floats(0, 800), st.text("v0123456789 rolledback", max_size=40)), max_size=60),
    st.floats(300, 900),
)
def test_flags_never_overlap(items: list[tuple[float, str]], width: float) -> None:
    """Every change is under exactly one flag, and every flag can be read."""
    placed = flags.arrange(sorted(items), width)
    assert sorted(i for flag in placed for i in flag.group.members) == list(range(len(items)))
    for a, b in combinations(placed, 2):
        if a.row == b.row:
            assert a.left + a.width <= b.left or b.left + b.width <= a.left


def test_jobs_stand_to_the_right_of_what_they_need(samples: ModuleType) -> None:
    """The eye follows the run from left to right."""
    assert graph.layers(samples.run().jobs) == {"lint": 0, "build": 0, "package": 1}


def test_an_asset_is_served_under_its_hash_only() -> None:
    """A cached file can never be stale, and no path leads out of the folder."""
    served = assets.asset("app.css").removeprefix(assets.PREFIX)
    found = assets.lookup(served)
    assert found is not None and found[1].startswith("text/css") and b":root" in found[0]
    for wrong in ("app.css", "../assets.py", "app.000000000000.css", ""):
        assert assets.lookup(wrong) is None


def test_modules_stay_small() -> None:
    """No build step means that people read these as they are."""
    for path in assets.STATIC.glob("*.js"):
        assert len(path.read_text().splitlines()) <= 150, path.name


@given(st.floats(-50, 50))
def test_a_percentage_never_says_minus_zero(ratio: float) -> None:
    """-0 % left reads like a fault of ours."""
    assert not wording.percent(ratio).startswith("-0 ")


@given(st.text())
def test_a_plain_log_line_has_no_escape(text: str) -> None:
    """A terminal's colours and titles mean nothing here, and may mean harm elsewhere."""
    assert "\x1b" not in wording.plain(text)


@pytest.mark.parametrize(
    "href", ["javascript:alert(1)", "//evil.example", "/\\evil.example", "https://evil.example", "", "/a\nb"]
)
def test_a_foreign_address_is_no_link(href: str) -> None:
    """What the journal holds came from outside; a click must stay here."""
    assert links.own(href) is None


def test_an_overspent_budget_is_drawn_below_zero(samples: ModuleType) -> None:
    """How deep the hole is decides how long it takes."""
    chart = samples.chart()
    deep = v.ChartPoint(at=chart.until - timedelta(hours=1), budget_left_ratio=-0.5)
    html = pages.service(replace(samples.service(), chart=replace(chart, points=(*chart.points, deep))))
    assert ">-50 %<" in html
