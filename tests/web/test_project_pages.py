"""A project's pages tell what is, in words: gaps are gaps, holes are trouble, marks never overlap."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import combinations
from types import ModuleType

import pytest
from msgspec.structs import replace

from poise.model.errors import Invalid
from poise.web import oncall_compose, pages
from poise.web.scorecard import bars, compared, shown


def test_an_empty_bucket_is_a_gap_and_a_zero_is_seen() -> None:
    """Nothing deployed is not the same as nothing failed."""
    drawn = str(bars("trend", [0.0, None, 0.5]))
    assert drawn.count("<rect") == 2 and 'height="1.0"' in drawn


def test_a_figure_is_compared_in_words_without_a_grade() -> None:
    """More is not always better, so it is only told."""
    assert compared(1.2, 0.8, "per_day", "7 days") == "Up from 0.8 a day in the 7 days before."
    assert compared(0.1, 0.1, "ratio", "7 days") == "As in the 7 days before."
    assert compared(None, 0.1, "ratio", "7 days") == "It was 10 % in the 7 days before."
    assert compared(0.1, None, "ratio", "7 days") == "No figure in the 7 days before."
    assert shown(None, "seconds") == "–"


def test_a_figure_opens_to_its_deployments_and_marks_what_is_guessed(samples: ModuleType) -> None:
    """A number that cannot be checked is a rumour."""
    html = pages.scorecard(samples.scorecard())
    assert "/rollouts/acme/production/storefront/42" in html and ">guessed<" in html
    assert "53 older ones are not shown here." in html
    for word in ("elite", "high performer", "badge"):
        assert word not in html.lower()


def test_the_first_line_says_who_is_on_call_until_when(samples: ModuleType) -> None:
    """It is read at three in the morning."""
    html = pages.oncall(samples.oncall())
    assert "anna is on call for shop until Mon 09:00, then ben." in html
    assert "nobody" not in html


def test_a_hole_is_shown_as_trouble(samples: ModuleType) -> None:
    """A schedule with a hole must not look covered."""
    html = pages.oncall(samples.oncall("18:00"))
    assert 'class="pill hold"' in html and 'class="problem"' in html
    assert "<strong>Nobody is on call </strong>from Sat 28 Nov 18:00 to Sun 29 Nov 00:00" in html


def test_the_calendar_has_four_weeks_of_seven_days_and_one_today(samples: ModuleType) -> None:
    """The eye finds today and counts weeks."""
    [shown] = samples.oncall().schedules
    assert [len(week) for week in shown.weeks] == [7, 7, 7, 7]
    assert [day.label for week in shown.weeks for day in week if day.today] == ["28 Nov"]
    assert shown.weeks[0][0].label == "23 Nov"


def test_an_override_is_in_the_calendar_until_it_is_cancelled(samples: ModuleType) -> None:
    """A cancelled one stays on record and changes nothing."""
    view = samples.oncall()
    days = {day.label: day for week in view.schedules[0].weeks for day in week}
    assert [slot.person for slot in days["2 Dec"].slots] == ["ben", "chiara", "ben"]
    assert [slot.person for slot in days["3 Dec"].slots] == ["ben"]
    html = pages.oncall(view)
    assert html.count('action="/projects/acme/oncall/shop/cancel"') == 1
    assert "/oncall/shop/" not in pages.oncall(replace(view, chrome=replace(view.chrome, may_say=False)))


def test_a_form_speaks_the_schedules_wall_time() -> None:
    """09:00 in Rome is 08:00 UTC in winter."""
    at = oncall_compose.instant("2026-12-01T09:00", "Europe/Rome", "from")
    assert at == datetime(2026, 12, 1, 8, tzinfo=UTC)
    for wrong in ("", "tomorrow", "2026-12-01T09:00+01:00", "9999-01-01T00:00"):
        with pytest.raises(Invalid):
            oncall_compose.instant(wrong, "Europe/Rome", "from")


def test_marks_in_a_pile_do_not_overlap(samples: ModuleType) -> None:
    """Fourteen deploys within an hour are one readable group, each in the table."""
    html = pages.delivery(samples.delivery(pile=40))
    boxes = [
        tuple(float(one) for one in found)
        for found in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', html)
    ]
    assert boxes
    lanes = html.split("<g transform=")[1:]
    for lane in lanes:
        found = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', lane)
        for a, b in combinations([[float(one) for one in box] for box in found], 2):
            if a[1] == b[1]:
                assert a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0]
    assert html.count(">r69</a>") == 2, "each mark stands in the table, clustered or not"


def test_a_change_is_followed_to_each_environment_in_order(samples: ModuleType) -> None:
    """Staging stands before production, and what came back says so."""
    html = pages.delivery(samples.delivery())
    assert re.search(r">staging</th><th[^>]*>production</th>", html)
    assert '<span class="bad">rolled back</span>' in html
    assert html.index("15 changes in 7 days") < html.index("<section")


def test_a_secret_has_a_name_and_no_value(samples: ModuleType) -> None:
    """Whoever reads the page learns that it is set, not what it is."""
    html = pages.service(samples.service())
    assert '<span class="mono">API_KEY</span>' in html and ">secret<" in html
    assert "Config 17 is on its way; users get config 16." in html
    assert "Secret 2 is live." in html


def test_a_replica_that_was_not_measured_shows_a_dash(samples: ModuleType) -> None:
    """0 % of a core would be a claim."""
    html = pages.service(samples.service())
    assert "4 replicas wanted, from 2 to 8: 410 requests per second" in html
    assert ">31 %</td>" in html and ">50 MiB</td>" in html
    [row] = re.findall(r"<tr><td[^>]*><span class=\"mono\">r43/1</span>.*?</tr>", html)
    assert row.count(">–<") == 2


def test_other_environments_are_one_link_away_in_order(samples: ModuleType) -> None:
    """A release passes staging first, and so does the eye."""
    html = pages.service(samples.service())
    assert html.index('href="/services/acme/staging/storefront"') < html.index(">production</strong>")


def test_the_overview_groups_by_environment_in_the_projects_order(samples: ModuleType) -> None:
    """Staging trouble must not read like production trouble."""
    view = samples.overview()
    moved = replace(view.services[0], key="acme/staging/storefront")
    two = replace(
        view, services=(*view.services, moved), places=("acme/staging", "acme/production", "acme/unused")
    )
    html = pages.overview(two)
    assert html.index("<h2>acme / staging</h2>") < html.index("<h2>acme / production</h2>")
    assert "unused" not in html and "<h2>Services</h2>" not in html
    assert "<h2>Services</h2>" in pages.overview(view)


def test_what_users_got_lies_under_what_changed(samples: ModuleType) -> None:
    """The eye finds the cause: a change's line goes down through the strips of its own service."""
    html = pages.delivery(samples.delivery())
    assert html.count('class="eline"') == 4, "two services measured, each with a gap"
    assert html.count('class="band"') == 1 and "incident 118, " in html
    heads, _, rows = html.partition('id="chart-table"')[2].partition("</table>")[0].partition("</thead>")
    assert "storefront · production" in heads and "storefront · staging" not in heads
    assert rows.count("<tr ") == 90 and rows.count(">–</td>") == 8, "a gap is a dash in both"
    assert ">3.4 %, 41 ms / 363 ms</td>" in rows
    assert "errors peaked at 3.4 % in storefront · production" in html


def test_a_lane_with_more_than_is_drawn_says_so(samples: ModuleType) -> None:
    """What is left out silently did not happen, for whoever reads it."""
    assert "are drawn." not in pages.delivery(samples.delivery(pile=40))
    html = pages.delivery(samples.delivery(pile=61))
    assert "Of storefront · staging, storefront · production only the newest 60 are drawn." in html


def test_strips_that_cannot_be_drawn_say_why(samples: ModuleType) -> None:
    """An empty strip would look like a calm one."""
    html = pages.delivery(samples.delivery(problem="the query took longer than 5 s"))
    assert "Error rate and latency are not drawn: the query took longer than 5 s" in html
    assert 'class="eline"' not in html and 'id="chart-table"' not in html
    quiet = replace(samples.delivery(problem="x"), problem="")
    assert "No request was counted in this window yet" in pages.delivery(quiet)
    assert "data-chart" not in html, "there is nothing to point at"
