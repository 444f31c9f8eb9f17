"""Pages of incidents as pure functions: the first line says what matters; Markdown can do nothing."""

from __future__ import annotations

from types import ModuleType

import pytest
from msgspec.structs import replace

from poise.model.incident import IncidentState
from poise.web import incident, links, markdown, pages


def test_the_worst_open_incident_is_named_first(samples: ModuleType) -> None:
    html = pages.incidents(samples.incidents())
    assert "2 incidents are open: the worst is" in html and "nobody has acknowledged it." in html


def test_a_quiet_project_says_so(samples: ModuleType) -> None:
    view = replace(samples.incidents(), rows=(), open_count=0, next_href="")
    html = pages.incidents(view)
    assert "No incident is open." in html and "poise incident open" in html


def test_the_overview_begins_with_an_open_incident(samples: ModuleType) -> None:
    view = replace(samples.overview(), incidents=(samples.incident_row(),))
    said = pages.overview(view).partition('class="say"')[2]
    assert said.index("1 incident is open") < said.index("services need you")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (IncidentState.OPEN, "nobody has acknowledged it"),
        (IncidentState.MITIGATED, "are well again"),
        (IncidentState.RESOLVED, "Over: storefront"),
        (IncidentState.MERGED, "part of incident 7"),
    ],
)
def test_the_first_line_of_a_room_says_how_it_stands(
    state: IncidentState, said: str, samples: ModuleType
) -> None:
    view = replace(samples.incident(), state=state, acknowledged_by="", merged_into=7)
    assert said in incident.incident_sentence(view)


def test_a_revert_stands_beside_the_first_suspect_alone(samples: ModuleType) -> None:
    view = samples.incident()
    both = tuple(replace(one, rollback="acme/production/payments") for one in view.suspects)
    html = pages.incident(replace(view, suspects=both))
    assert html.count('id="act-rollback"') == 1
    assert 'id="act-rollback"' not in pages.incident(replace(view, suspects=both, explained=False))
    quiet = replace(view, suspects=both, chrome=replace(view.chrome, may_act=False))
    assert 'id="act-rollback"' not in pages.incident(quiet)


def test_a_setting_is_not_a_rollout() -> None:
    """Both are numbered under their service; only one has a page of its own."""
    key = "acme/production/shop"
    assert links.about(f"{key}/000017", "dev.poise.config.changed") == links.service(key)
    assert links.about(f"{key}/000017", "dev.poise.secret.changed") == links.service(key)
    assert links.about(f"{key}/000017", "dev.poise.rollout.created") == links.rollout(key, 17)


def test_evidence_in_a_review_is_a_link() -> None:
    html = markdown.rendered("It began.[^1] See `event/9`.\n\n[^1]: `Incident/acme/000003`\n", "acme")
    assert '<a href="/projects/acme/incidents/3" title="Incident/acme/000003">1</a>' in html
    assert '<a href="/projects/acme/events/9"><code>event/9</code></a>' in html


def test_a_link_elsewhere_knows_nothing_of_us() -> None:
    html = markdown.rendered("[a](https://example.org) [b](http://example.org) [c](/audit)", "acme")
    assert html.count('rel="noopener noreferrer nofollow"') == 3


@pytest.mark.parametrize(
    "text",
    ["[x](javascript:alert)", "[x](data:text/html,x)", "[x](//evil.example)", "[x](vbscript:x)", "<script>",
     "![x](https://evil.example/p.png)", "[x](/\\\\evil.example)", "<img src=x>"],
)  # fmt: skip
def test_markdown_makes_nothing_that_acts(text: str) -> None:
    html = markdown.rendered(text, "acme")
    assert "<img" not in html and "<script" not in html
    for scheme in ("javascript:", "data:", "vbscript:", "//evil", "/\\"):
        assert f'href="{scheme}' not in html
