"""Laws of every parser: it reads or it refuses, whatever it is given, and never passes over a key."""

from __future__ import annotations

import re
from collections.abc import Iterator

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from poise.model.errors import Invalid
from poise.spec.problems import Problems
from poise.spec.schema import json_schema
from poise.spec.service import parse_project
from poise.spec.workflow import parse_workflow

PROJECT = """\
apiVersion: poise.dev/v1
kind: Project
metadata:
  name: acme
spec:
  branch: main
  heal:
    share: 20%
---
apiVersion: poise.dev/v1
kind: BudgetPolicy
metadata:
  name: usual
spec:
  slowBelow: 40%
  fastBurn:
    - long: 1h
      short: 5m
      factor: 14.4
---
apiVersion: poise.dev/v1
kind: Service
metadata:
  name: shop
spec:
  command: python3 shop.py
  port: 8080
  health:
    path: /healthz
  replicas:
    min: 2
  rollout:
    steps: [5, 20, 50]
    step: 10s
  artifact:
    path: dist
  timeouts:
    perTry: 1s
  environments:
    - name: production
      overrides:
        replicas:
          max: 3
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: quick
spec:
  service: shop
  indicator:
    metadata:
      name: quick
    spec:
      ratioMetric:
        good:
          metricSource:
            type: poise
            spec:
              counter: latency
              thresholdMs: 100
        total:
          metricSource:
            type: poise
            spec:
              counter: requests
  timeWindow:
    - duration: 7d
      isRolling: true
  objectives:
    - target: 0.95
"""

WORKFLOW = """\
name: ci
on:
  push:
    branches: [main]
defaults:
  run:
    shell: sh
jobs:
  test:
    runs-on: linux
    defaults:
      run:
        shell: bash
    steps:
      - uses: actions/checkout@v4
        with:
          fetch-depth: 0
      - run: make
        timeout-minutes: 5
"""

FREE_NAMES = {"test"}  # the first key of a mapping whose names are the user's: jobs


def read(text: str, workflow: bool) -> object:
    if workflow:
        return parse_workflow(text, filename="f.yaml")
    return parse_project(text, project="acme", filename="f.yaml")


def openings(text: str) -> Iterator[tuple[int, int]]:
    """(line index, indent) of the first key of every mapping with known keys."""
    before = -1
    for index, line in enumerate(text.splitlines()):
        found = re.match(r"( *)(- )?([A-Za-z-]+):", line)
        if found is None:
            before = -1
            continue
        indent = len(found[1]) + len(found[2] or "")
        if (indent > before or found[2]) and found[3] not in FREE_NAMES:
            yield index, indent
        before = indent


PLACES = [(text, index, indent) for text in (PROJECT, WORKFLOW) for index, indent in openings(text)]


def with_key(text: str, index: int, indent: int, key: str) -> tuple[str, int]:
    """``text`` with ``key`` as the second line of the mapping that opens at ``index``; its line number."""
    lines = text.splitlines()
    after = index + 1
    while after < len(lines) and len(lines[after]) - len(lines[after].lstrip()) > indent:
        after += 1
    return "\n".join([*lines[:after], f"{' ' * indent}{key}: 1", *lines[after:], ""]), after + 1


def test_the_samples_are_good_and_have_places_enough() -> None:
    """Else the laws below would hold for nothing."""
    assert read(PROJECT, False)
    assert read(WORKFLOW, True)
    assert len(PLACES) >= 40


@settings(deadline=None)  # the machine may be busy; how long it takes is not the claim
@given(st.sampled_from(PLACES), st.from_regex(r"[a-z][A-Za-z_]{3,12}Zq", fullmatch=True))
def test_an_unknown_key_is_refused_wherever_it_stands(place: tuple[str, int, int], key: str) -> None:
    """A key that is passed over is a promise that is not kept."""
    text, line = with_key(*place, key)
    with pytest.raises(Problems) as caught:
        read(text, place[0] is WORKFLOW)
    problem = next(each for each in caught.value.problems if each.what == f"unknown key '{key}'")
    assert (problem.code, problem.where) == ("POISE-S110", f"f.yaml:{line}:{place[2] + 1}")


@settings(deadline=None)
@given(st.text(), st.booleans())
def test_any_text_is_read_or_refused(text: str, workflow: bool) -> None:
    """Anyone who may push may send anything; nothing else may be raised."""
    try:
        read(text, workflow)
    except Invalid as problem:
        assert problem.where.startswith("f.yaml:")


TOKENS = st.sampled_from(
    [
        *"[]{}:,-#&*!|>'\"%@`?~ \n\t",
        *("\r\n", "---\n", "...\n", "&a ", "*a", "<<: ", "- ", ": ", "? ", '"\\U00110000"', "!!int "),
        *("0o9", "1e999", "-.inf", "9" * 40, "${{ x }}", "\x85", "\u2028", "\ufeff", "\U0001f600", "\x00"),
        *re.findall(r"[A-Za-z./-]+", PROJECT + WORKFLOW),
    ]
)


@settings(deadline=None)
@given(st.lists(TOKENS, max_size=40).map("".join), st.booleans())
def test_any_yaml_like_text_is_read_or_refused(text: str, workflow: bool) -> None:
    """Nearer to YAML than random text, so it reaches deeper."""
    try:
        read(text, workflow)
    except Invalid as problem:
        assert problem.where.startswith("f.yaml:")


@settings(deadline=None)
@given(st.booleans(), st.data())
def test_a_spoilt_file_is_read_or_refused(workflow: bool, data: st.DataObject) -> None:
    """One value of a good file, replaced by anything: the deepest that a mistake gets."""
    text = WORKFLOW if workflow else PROJECT
    lines = text.splitlines()
    index = data.draw(st.integers(0, len(lines) - 1))
    value = data.draw(st.lists(TOKENS, max_size=6).map("".join))
    lines[index] = re.sub(r"(:|-) .*|$", lambda found: f"{found[0][:1]} {value}", lines[index], count=1)
    try:
        read("\n".join(lines), workflow)
    except Invalid as problem:
        assert problem.where.startswith("f.yaml:")
        assert problem.mend


@settings(deadline=None)
@given(st.integers(0, 63), st.data())
def test_what_is_read_passes_the_editors_schema(spoil: int, data: st.DataObject) -> None:
    """An editor must not underline what Poise accepts: both come from one table."""
    lines = PROJECT.splitlines()
    index = spoil % len(lines)
    values = ["5", "0.5", "40%", "30s", "true", "''", "[1, 2]", "{}", "abc", "/x", "null", "-1"]
    value = data.draw(st.sampled_from(values))
    lines[index] = re.sub(r": .*", f": {value}", lines[index])
    text = "\n".join(lines)
    try:
        read(text, False)
    except Invalid:
        return
    validator = jsonschema_rs.validator_for(json_schema())
    for document in YAML(typ="safe", pure=True).load_all(text):
        assert validator.is_valid(document), document


def test_the_editors_schema_refuses_unknown_keys() -> None:
    """The commonest mistake is underlined while typing."""
    validator = jsonschema_rs.validator_for(json_schema())
    for document in YAML(typ="safe", pure=True).load_all(PROJECT):
        assert validator.is_valid(document)
        assert not validator.is_valid({**document, "spce": {}})
        assert not validator.is_valid({**document, "spec": {**document["spec"], "replcas": 1}})
