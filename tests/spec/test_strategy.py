"""The strategy of a rollout in ``poise.yaml``: read by name; keys of another are refused where they are."""

from __future__ import annotations

import pytest

from poise.model.service import AfterMirror, Mirror, Promotion, Strategy, StrategyKind
from poise.spec.checks_strategy import BELONGS
from poise.spec.explain import explain
from poise.spec.keys_service import ROLLOUT
from poise.spec.problems import Problems
from poise.spec.service import parse_project

TEXT = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: shop}
spec:
  command: run
  port: 8080
  rollout: %s
"""


def strategy(rollout: str) -> Strategy:
    [service] = parse_project(TEXT % rollout, project="acme").services
    return service.strategy


def test_without_a_word_it_is_a_canary() -> None:
    assert strategy("{step: 1m}").kind is StrategyKind.CANARY


def test_a_blue_green_says_who_promotes_and_how_long_the_old_one_is_kept() -> None:
    found = strategy("{strategy: blue-green, promotion: manual, keepWarm: 10m, alpha: 0.01}")
    assert (found.kind, found.promotion) == (StrategyKind.BLUE_GREEN, Promotion.MANUAL)
    assert (found.keep_warm_s, found.alpha) == (600.0, 0.01)
    assert not found.is_sized and found.first_percent == 100


def test_a_rolling_update_has_kubernetes_names_and_defaults() -> None:
    found = strategy("{strategy: rolling, maxSurge: 2, minReady: 30s}")
    assert (found.kind, found.max_surge, found.max_unavailable) == (StrategyKind.ROLLING, "2", "25%")
    assert found.min_ready_s == 30.0


def test_a_mirror_copies_reads_and_goes_on_as_a_canary_unless_it_says_otherwise() -> None:
    found = strategy("{strategy: mirror, mirror: {percent: 20, time: 5m, then: end}, steps: [10]}")
    assert found.mirror == Mirror(percent=20, time_s=300.0, writes=False, then=AfterMirror.END)
    assert found.is_sized and found.first_percent == 10
    assert strategy("{strategy: mirror}").mirror.then is AfterMirror.CANARY
    with pytest.raises(Problems, match="'then': 'promotee' is not one of canary, promote, end"):
        strategy("{strategy: mirror, mirror: {then: promotee}}")


@pytest.mark.parametrize("one", ["header: x-poise-preview", "cookie: beta"])
def test_a_preview_is_asked_for_by_a_header_or_a_cookie_and_by_one_of_them(one: str) -> None:
    found = strategy(f"{{preview: {{{one}}}}}").preview
    assert found.is_declared and one in (f"header: {found.header}", f"cookie: {found.cookie}")
    for wrong in ("{}", "{header: a, cookie: b}"):
        with pytest.raises(Problems, match="needs a header or a cookie, and only one of them"):
            strategy(f"{{preview: {wrong}}}")
    with pytest.raises(Problems, match="'preview' has no meaning for strategy 'rolling'"):
        strategy("{strategy: rolling, preview: {header: a}}")


def test_a_recreate_has_no_keys_of_its_own() -> None:
    assert strategy("{strategy: recreate, startTimeout: 30s}").kind is StrategyKind.RECREATE
    with pytest.raises(Problems, match="'alpha' has no meaning for strategy 'recreate'"):
        strategy("{strategy: recreate, alpha: 0.1}")


def test_explain_names_the_strategy_in_force() -> None:
    declared = parse_project(TEXT % "{strategy: blue-green}", project="acme")
    rows = explain(declared.services[0], declared.objectives, declared.project.policy)
    assert ("rollout.strategy", "blue-green", "declared") in rows
    assert ("rollout.keepWarm", "5m", "default") in rows


@pytest.mark.parametrize(
    ("rollout", "where", "said"),
    [
        ("{strategy: bluegreen}", "7:23", "'strategy': 'bluegreen' is not one of canary, blue-green"),
        ("{strategy: blue-green, steps: [5]}", "7:35", "'steps' has no meaning for strategy 'blue-green'"),
        ("{strategy: rolling, minReady: 5}", "7:42", "'minReady': '5' is not a duration"),
        ("{strategy: rolling, maxSurge: 120%}", "7:42", "'maxSurge': '120%' is not allowed"),
        ("{strategy: rolling, maxSurge: 0, maxUnavailable: 0%}", "7:61", "no replica could be replaced"),
        ("{keepWarm: 5m}", "7:13", "'keepWarm' has no meaning for strategy 'canary'"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_stands(rollout: str, where: str, said: str) -> None:
    with pytest.raises(Problems) as found:
        strategy(rollout)
    assert said in str(found.value) and f"(poise.yaml:{where})" in str(found.value)


def test_an_environment_may_have_another_strategy_than_the_file() -> None:
    """Keys belong to the strategy of their own mapping; one of the base is not refused for an override."""
    text = TEXT % "{steps: [5, 50]}" + (
        "  environments:\n"
        "    - {name: staging, overrides: {rollout: {strategy: blue-green, keepWarm: 1s}}}\n"
        "    - name: production\n"
    )
    staging, production = parse_project(text, project="acme").services
    assert staging.strategy.kind is StrategyKind.BLUE_GREEN
    assert production.strategy.steps_percent == (5, 50)
    with pytest.raises(Problems, match="'step' has no meaning for strategy 'blue-green'"):
        parse_project(text.replace("keepWarm: 1s", "step: 1s"), project="acme")


def test_every_key_that_belongs_to_some_strategies_is_a_key_of_rollout() -> None:
    keys = {field.key for field in ROLLOUT.fields}
    assert set(BELONGS) <= keys
