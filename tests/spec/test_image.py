"""A service of containers as it is declared, with every mistake at its place."""

from __future__ import annotations

import pytest

from poise.model.service import Resources
from poise.spec.explain import explain
from poise.spec.keys_service import SERVICE
from poise.spec.problems import Problems
from poise.spec.schema import schema_of
from poise.spec.service import Declared, parse_project

HEAD = "apiVersion: poise.dev/v1\nkind: Service\nmetadata: {name: shop}\nspec:\n  port: 8080\n"


def parse(*lines: str) -> Declared:
    return parse_project(HEAD + "".join(f"  {line}\n" for line in lines), project="acme")


def test_an_image_takes_the_place_of_a_command_and_an_artifact() -> None:
    """Six lines are enough for a container too."""
    image = "registry.example:5000/team/shop:1.4"
    declared = parse(f"image: {image}", "resources: {memory: 256MiB, cpu: 0.5}", "readOnly: true")
    (one,) = declared.services
    assert (one.image, one.command, one.read_only, one.runs_elsewhere) == (image, "", True, False)
    assert one.resources == Resources(memory_bytes=256 * 2**20, cpu=0.5)
    rows = explain(one, declared.objectives, declared.project.policy)
    assert ("resources.memory", "256MiB", "declared") in rows
    assert ("resources.cpu", "0.5", "declared") in rows


def test_a_command_may_stand_beside_an_image() -> None:
    """It takes the place of what the image says."""
    (one,) = parse("image: shop@sha256:" + "0" * 64, "command: serve --port $PORT").services
    assert (one.command, one.image[:12]) == ("serve --port $PORT", "shop@sha256:")


def test_editors_are_told_that_one_of_both_is_needed() -> None:
    """As the reader does, so that a file that editors call whole is not refused."""
    schema = schema_of(SERVICE)
    assert schema["anyOf"] == [{"required": ["command"]}, {"required": ["image"]}]
    assert "required" not in schema


@pytest.mark.parametrize(
    ("lines", "code", "place"),
    [
        (("replicas: 2",), "POISE-S111", "5:3"),
        (("image: nginx",), "POISE-S113", "6:10"),
        (("image: 'shop:1@sha256:" + "0" * 64 + "'",), "POISE-S113", "6:10"),
        (("image: Shop:1",), "POISE-S113", "6:10"),
        (("image: shop@sha256:12",), "POISE-S113", "6:10"),
        (("image: 'shop:1'", "artifact: {path: dist}"), "POISE-S118", "7:13"),
        (("image: 'shop:1'", "resources: {cpu: 0}"), "POISE-S113", "7:20"),
        (("image: 'shop:1'", "resources: {memory: 1MiB}"), "POISE-S113", "7:23"),
        (("image: 'shop:1'", "resources: {limits: {memory: 1GiB}}"), "POISE-S114", "7:15"),
        (("image: 'shop:1'", "privileged: true"), "POISE-S114", "7:3"),
        (("image: 'shop:1'", "ports: ['80:80']"), "POISE-S114", "7:3"),
        (("command: run", "readOnly: true"), "POISE-S118", "7:13"),
        (("command: run", "resources: {cpu: 1}"), "POISE-S118", "7:20"),
        (
            ("image: 'a:1'", "environments: [{name: production, overrides: {image: 'a:2'}}]"),
            "POISE-S114",
            "7:49",
        ),
    ],
)
def test_a_mistake_is_refused_at_its_place(lines: tuple[str, ...], code: str, place: str) -> None:
    """What is refused names the key, and nothing is ignored; an environment has no image of its own."""
    with pytest.raises(Problems) as told:
        parse(*lines)
    assert [(one.code, one.where) for one in told.value.problems] == [(code, f"poise.yaml:{place}")]
