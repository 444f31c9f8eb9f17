"""The demo's shop: what is shortened is a spec that the product accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

import poise
from poise.cli.story import shop
from poise.model.errors import NotFound
from poise.spec.commits import change_class
from poise.spec.service import parse_project

PHONE = "http://127.0.0.1:1/page"


def test_the_shortened_shop_is_a_valid_spec_with_what_is_announced() -> None:
    """What the demo says that it shortens is what it shortens."""
    text = shop.shortened((shop.find_example() / "poise.yaml").read_text(), PHONE)
    declared = parse_project(text, project="shop", filename="poise.yaml")
    assert tuple(service.name for service in declared.services) == shop.SERVICES
    for service in declared.services:
        assert service.strategy.steps_percent == (5, 20, 50)
        assert service.strategy.step_s == shop.STEP_S[service.name]
        assert service.strategy.max_bake_s == shop.MAX_BAKE_S
    assert {one.window_s for one in declared.objectives} == {3600.0}
    assert len(declared.objectives) == 2 * len(shop.SERVICES), "no default objective is left beside"
    assert declared.project.policy.bootstrap_s == shop.BOOTSTRAP_S
    assert declared.project.policy.bootstrap_events == shop.BOOTSTRAP_EVENTS
    assert declared.services[0].scaling.service_rate_per_s == shop.SERVICE_RATE_PER_S
    [person] = declared.schedules[0].people
    assert (person.name, person.contacts[0].address) == (shop.ON_CALL, PHONE)
    assert declared.escalations[0].steps[0].wait_s == shop.ESCALATE_AFTER_S


def test_a_copy_is_the_example_with_another_spec(tmp_path: Path) -> None:
    """The checkout that it is played from stays as it is."""
    example = shop.find_example()
    before = (example / "poise.yaml").read_text()
    shop.copy_shop(example, tmp_path / "shop", PHONE)
    shop.write_version(tmp_path / "shop", "7", 5)
    assert (example / "poise.yaml").read_text() == before
    assert (tmp_path / "shop" / "poise.yaml").read_text() != before
    assert "FAIL_ONE_IN = 5" in (tmp_path / "shop" / "version.py").read_text()
    assert (tmp_path / "shop" / ".github" / "workflows" / "ci.yml").is_file()


def test_without_the_example_it_says_where_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package has no examples; the error says what to do."""
    monkeypatch.setattr(poise, "__file__", str(tmp_path / "a" / "b" / "c" / "d.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="POISE-D301") as caught:
        shop.find_example()
    assert "checkout" in caught.value.mend


def test_a_persons_own_settings_do_not_reach_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token or data folder in the environment would turn the demo against another house."""
    monkeypatch.setenv("POISE_TOKEN", "theirs")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    made = shop.clean_environment(tmp_path)
    assert made["POISE_DATA"] == str(tmp_path)
    assert not {"POISE_TOKEN", "GIT_DIR"} & made.keys()


def test_the_fix_says_that_it_is_one() -> None:
    """The trailer is what the gate reads."""
    assert change_class("Orders no longer fail\n\nPoise-Class: fix").value == "fix"
