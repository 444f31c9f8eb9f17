"""Workflows run as written or are refused with the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from poise.spec import limits
from poise.spec.problems import Problems
from poise.spec.workflow import Workflow, parse_workflow

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/.github/workflows/*.yml"))

FULL = """\
name: ci
on:
  push:
    branches: [main, 'release/*']
  pull_request:
    types: [opened]
env: {A: root, B: 1.10, C: ''}
defaults:
  run: {shell: sh}
jobs:
  test:
    name: tests
    runs-on: [self-hosted, linux, x64]
    env: {A: job, N: }
    timeout-minutes: 10
    defaults: {run: {working-directory: app}}
    steps:
      - uses: actions/checkout@v4
        with: {fetch-depth: 0}
      - name: unit
        run: |
          make
          make test
        env: {A: step}
        timeout-minutes: 0.5
      - run: ls
        working-directory: docs
        shell: bash
  build:
    runs-on: ubuntu-24.04
    needs: test
    steps: [{run: make}]
"""


def plan(text: str) -> Workflow:
    return parse_workflow(text, filename="ci.yml")


def refused(text: str) -> list[tuple[str, str]]:
    with pytest.raises(Problems) as caught:
        plan(text)
    assert all(problem.mend for problem in caught.value.problems)
    return [(problem.code, problem.where) for problem in caught.value.problems]


def test_a_full_workflow_is_planned_as_written() -> None:
    """Every key that is honoured, in one file."""
    workflow = plan(FULL)
    test, build = workflow.jobs
    assert (workflow.name, test.id, build.needs, test.timeout_s) == ("ci", "test", ("test",), 600.0)
    checkout, unit, listing = test.steps
    assert (checkout.uses, checkout.name) == ("actions/checkout@v4", "Run actions/checkout@v4")
    assert unit.env == {"A": "step", "B": "1.10", "C": "", "N": ""}
    assert (unit.run, unit.timeout_s, unit.working_directory) == ("make\nmake test\n", 30.0, "app")
    assert unit.shell == "sh -e"
    assert (listing.shell, listing.working_directory, listing.env["A"]) == (
        "bash --noprofile --norc -eo pipefail",
        "docs",
        "job",
    )
    assert build.steps[0].shell == "sh -e"
    assert build.timeout_s == 21_600.0


def test_a_bare_workflow_has_githubs_defaults() -> None:
    """The shortest file that GitHub takes."""
    workflow = plan("on: push\njobs: {b: {runs-on: ubuntu-latest, steps: [{run: make}]}}")
    step = workflow.jobs[0].steps[0]
    assert (workflow.name, step.name, step.shell) == ("ci.yml", "Run make", "bash -e")
    assert (step.working_directory, step.timeout_s) == (".", 21_600.0)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.parts[-4]))
def test_the_examples_are_planned(path: Path) -> None:
    """The files that the README shows must work."""
    workflow = parse_workflow(path.read_text(), filename=path.name)
    assert workflow.runs_on("main")
    assert workflow.jobs


def test_there_are_examples() -> None:
    """Else the test above would pass on nothing."""
    assert {path.parts[-4] for path in EXAMPLES} >= {"hello", "shop"}


@pytest.mark.parametrize(
    ("on", "branch", "runs"),
    [
        ("push", "any/thing", True),
        ("[push, pull_request]", "x", True),
        ("pull_request", "main", False),
        ("{workflow_dispatch: {}}", "main", False),
        ("{push: }", "main", True),
        ("{push: {branches: main}}", "main", True),
        ("{push: {branches: [main]}}", "mainly", False),
        ("{push: {branches: ['feature/*']}}", "feature/a", True),
        ("{push: {branches: ['feature/*']}}", "feature/a/b", False),
        ("{push: {branches: ['feature/**']}}", "feature/a/b", True),
        ("{push: {branches: ['v1.0']}}", "v1x0", False),
    ],
)
def test_a_push_starts_what_its_filter_says(on: str, branch: str, runs: bool) -> None:
    """A release from the wrong branch reaches users."""
    workflow = plan(f"on: {on}\njobs: {{b: {{runs-on: linux, steps: [{{run: make}}]}}}}")
    assert workflow.runs_on(branch) is runs


def job(line: str) -> str:
    return f"on: push\njobs:\n  b:\n    runs-on: linux\n    {line}\n    steps: [{{run: make}}]\n"


def step(lines: str) -> str:
    return f"on: push\njobs:\n  b:\n    runs-on: linux\n    steps:\n      - {lines}\n"


def on(line: str) -> str:
    return f"on: {line}\njobs: {{b: {{runs-on: linux, steps: [{{run: make}}]}}}}\n"


BAD = [
    ("", "POISE-S112", "1:1"),
    ("on: push", "POISE-S111", "1:1"),
    ("on: push\njobs: {}", "POISE-S111", "2:7"),
    (on("schedule"), "POISE-S114", "1:5"),
    (on("pusch"), "POISE-S110", "1:5"),
    (on("[]"), "POISE-S111", "1:5"),
    (on("{}"), "POISE-S111", "1:5"),
    (job("needs: ['c d']"), "POISE-S113", "5:13"),
    (on("{push: {tags: [v1]}}"), "POISE-S114", "1:13"),
    (on("{push: {branches: ['!main']}}"), "POISE-S113", "1:24"),
    (on("{push: {branches: []}}"), "POISE-S113", "1:23"),
    (on("{schedule: [{cron: x}]}"), "POISE-S114", "1:6"),
    (job("if: always()"), "POISE-S114", "5:5"),
    (job("strategy: {matrix: {v: [1]}}"), "POISE-S114", "5:5"),
    (job("container: alpine"), "POISE-S114", "5:5"),
    (job("contaner: alpine"), "POISE-S110", "5:5"),
    (job("needs: c"), "POISE-S115", "5:12"),
    (job("needs: [b]"), "POISE-S116", "5:13"),
    (job("timeout-minutes: soon"), "POISE-S112", "5:22"),
    (job("timeout-minutes: 0"), "POISE-S113", "5:22"),
    (job("env: {'A B': 1}"), "POISE-S113", "5:11"),
    (job("env: {A: [1]}"), "POISE-S112", "5:14"),
    (job("env: {A: '${{ secrets.X }}'}"), "POISE-S130", "5:15"),
    (job("defaults: {run: {shell: pwsh}}"), "POISE-S114", "5:29"),
    (step("run: make\n        if: failure()"), "POISE-S114", "7:9"),
    (step("run: make\n        id: x"), "POISE-S114", "7:9"),
    (step("run: make\n        continue-on-error: true"), "POISE-S114", "7:9"),
    (step("run: |\n          echo a\n          echo ${{ github.sha }}"), "POISE-S130", "8:16"),
    (step("run: make\n        shell: python"), "POISE-S114", "7:16"),
    (step("run: make\n        shell: fish"), "POISE-S113", "7:16"),
    (step("run: make\n        working-directory: ../x"), "POISE-S113", "7:28"),
    (step("run: make\n        working-directory: /etc"), "POISE-S113", "7:28"),
    (step("run: make\n        with: {}"), "POISE-S118", "7:9"),
    (step("run: ' '"), "POISE-S113", "6:14"),
    (step("name: x"), "POISE-S111", "6:9"),
    (step("run: make\n        uses: actions/checkout@v4"), "POISE-S118", "7:15"),
    (step("uses: actions/setup-python@v5"), "POISE-S114", "6:15"),
    (step("uses: evil/actions/checkout@v4"), "POISE-S114", "6:15"),
    (step("uses: actions/checkout@v4\n        with: {ref: main}"), "POISE-S114", "7:16"),
    (step("uses: actions/checkout@v4\n        with: {fetch-depth: x}"), "POISE-S112", "7:29"),
    (step("uses: actions/checkout@v4\n        shell: sh"), "POISE-S118", "7:9"),
    ("on: push\npermissions: {}\njobs: {b: {runs-on: linux, steps: [{run: x}]}}", "POISE-S114", "2:1"),
    ("on: push\njobs: {b: {runs-on: macos-14, steps: [{run: x}]}}", "POISE-S114", "2:21"),
    ("on: push\njobs: {b: {runs-on: [x64], steps: [{run: x}]}}", "POISE-S114", "2:22"),
    ("on: push\njobs: {b: {runs-on: '${{ matrix.os }}', steps: [{run: x}]}}", "POISE-S130", "2:22"),
    ("on: push\njobs: {b: {runs-on: {group: x}, steps: [{run: x}]}}", "POISE-S112", "2:21"),
    ("on: push\njobs: {b: {runs-on: linux, steps: []}}", "POISE-S113", "2:35"),
    ("on: push\njobs: {1b: {runs-on: linux, steps: [{run: x}]}}", "POISE-S113", "2:8"),
    ("a: 1\n---\nb: 2", "POISE-S112", "3:1"),
]


@pytest.mark.parametrize(("text", "code", "place"), BAD)
def test_what_cannot_be_honoured_is_refused_with_its_line(text: str, code: str, place: str) -> None:
    """A key that is silently ignored makes a green run that means less than it says."""
    assert refused(text) == [(code, f"ci.yml:{place}")]


def test_problems_over_their_limit_are_left_out() -> None:
    """A file of nothing but mistakes costs a bounded answer."""
    script = "\n".join("          echo ${{ x }}" for _ in range(2 * limits.PROBLEMS))
    assert len(refused(step(f"run: |\n{script}"))) == limits.PROBLEMS


def test_every_problem_of_a_file_is_told_at_once() -> None:
    """One push should show all that must change, not one line a day."""
    text = FULL.replace("needs: test", "needs: tset").replace("timeout-minutes: 10", "if: x")
    assert refused(text.replace("[{run: make}]", "[{run: 'echo ${{ x }}'}]")) == [
        ("POISE-S114", "ci.yml:15:5"),
        ("POISE-S115", "ci.yml:31:12"),
        ("POISE-S130", "ci.yml:32:25"),
    ]


def test_an_unknown_job_is_met_with_the_nearest_name() -> None:
    """The mend says what was probably meant."""
    with pytest.raises(Problems) as caught:
        plan(FULL.replace("needs: test", "needs: tset"))
    assert caught.value.mend == "Did you mean 'test'? Edit ci.yml line 31."
