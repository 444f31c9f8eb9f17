"""``.github/workflows/*.yml`` as jobs that run natively, or every line that cannot be honoured."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

from poise.model.delivery import JobRun, StepRun
from poise.spec import limits
from poise.spec.checks import circle, items_of
from poise.spec.document import Items, Mapping, Node, Place, Scalar, compose, scalars
from poise.spec.keys_workflow import ON, SHELLS, TRIGGERS, TRIGGERS_REFUSED, WORKFLOW
from poise.spec.problems import (
    BAD_VALUE,
    CONTRADICTION,
    CYCLE,
    EXPRESSION,
    MISSING_KEY,
    UNKNOWN_KEY,
    UNKNOWN_NAME,
    UNSUPPORTED,
    WRONG_TYPE,
    Report,
    nearest,
    shown,
)
from poise.spec.read import Found, plain, read_record

TIMEOUT_S: Final = 21_600.0  # Source: GitHub Actions, jobs.<job_id>.timeout-minutes, default 360

_CHECKOUT: Final = re.compile(r"actions/checkout@(?:v[0-9]+(?:\.[0-9]+){0,2}|[0-9a-f]{40})")
_LINUX: Final = re.compile(r"(?:ubuntu|debian|linux)(?:-[a-z0-9.-]+)?", re.IGNORECASE)
_EXTRA_LABELS: Final = frozenset({"self-hosted", "x64", "arm64"})


class Workflow(Struct, frozen=True, kw_only=True):
    """A workflow file as a plan. ``branches`` None means every branch; without ``on_push`` it never runs."""

    name: str
    on_push: bool
    branches: tuple[str, ...] | None
    jobs: tuple[JobRun, ...]

    def runs_on(self, branch: str) -> bool:
        """Whether a push to ``branch`` starts it; ``*`` matches within a path segment, ``**`` across.

        Source: GitHub Actions, filter pattern cheat sheet.
        """
        patterns = ("**",) if self.branches is None else self.branches
        return self.on_push and any(branch_matches(pattern, branch) for pattern in patterns)


def parse_workflow(text: str, *, filename: str) -> Workflow:
    """The jobs of a workflow file, in its order. Raises ``Problems`` with every line that is refused.

    A step's ``env`` is the root's, the job's and its own, the later winning.
    """
    report = Report(filename)
    documents = compose(text, filename)
    if len(documents) != 1:
        place: Node | Place = documents[1] if documents else Place()
        report.add(WRONG_TYPE, place, "a workflow is exactly one document", mend="Keep one.")
        report.raise_if_any()
    root = documents[0]
    _refuse_expressions(root, text, report)
    found = read_record(WORKFLOW, root, "the workflow", report)
    if found is not None and isinstance(root, Mapping):
        on_push, branches = _triggers(root.get("on"), report)
        jobs = _checked_jobs(root, found, report)
        report.raise_if_any()
        named = found.text("name") or filename.rpartition("/")[2]
        planned = tuple(_job(id, job, found) for id, job in jobs.items())
        return Workflow(name=named, on_push=on_push, branches=branches, jobs=planned)
    report.raise_if_any()
    raise AssertionError("a document without a record has a problem")


def _refuse_expressions(root: Node, text: str, report: Report) -> None:
    """Every ``${{ }}``, at its own place even inside a script."""
    mend = "Write the value in full, or use an environment variable in the script."
    for scalar in scalars(root):
        if "${{" not in scalar.text or len(report) >= limits.PROBLEMS:
            continue
        offsets = [found.start() for found in re.finditer(r"\$\{\{", text[scalar.start : scalar.end])]
        for offset in offsets[: limits.PROBLEMS] or [0]:
            before = text[: scalar.start + offset]
            place = Place(
                scalar.line + text.count("\n", scalar.start, scalar.start + offset),
                len(before) - before.rfind("\n"),
            )
            report.add(EXPRESSION, place, "expressions '${{ }}' are not supported yet", mend=mend)


def _triggers(on: Node | None, report: Report) -> tuple[bool, tuple[str, ...] | None]:
    """Whether a push starts it, and the branch filters (None: every branch)."""
    if isinstance(on, Mapping):
        if not on.entries:
            report.add(MISSING_KEY, on, "'on' names no trigger", mend="Write 'on: push'.")
        push = on.get("push")
        empty = isinstance(push, Scalar) and push.kind == "null"
        entries = tuple(entry for entry in on.entries if not (empty and entry[0].text == "push"))
        rest = Mapping(entries=entries, line=on.line, column=on.column, size=on.size)
        found = read_record(ON, rest, "'on'", report)
        read = plain(found) if found is not None else {}
        filters = read.get("push") if isinstance(read, dict) else None
        branches = filters.get("branches") if isinstance(filters, dict) else None
        return push is not None, tuple(branches) if isinstance(branches, list) else None
    words = items_of(on)
    for word in words:
        text = word.text if isinstance(word, Scalar) else ""
        if text in TRIGGERS_REFUSED:
            what = f"the trigger {shown(text)} is not supported yet"
            report.add(UNSUPPORTED, word, what, mend=TRIGGERS_REFUSED[text])
        elif text not in TRIGGERS:
            report.add(UNKNOWN_KEY, word, f"unknown trigger {shown(text)}", mend=nearest(text, TRIGGERS))
    if isinstance(on, Items) and not on.items:
        report.add(MISSING_KEY, on, "'on' names no trigger", mend="Write 'on: push'.")
    return any(isinstance(word, Scalar) and word.text == "push" for word in words), None


def _checked_jobs(root: Mapping, found: Found, report: Report) -> dict[str, Found]:
    """The jobs that could be read, after every check that looks at more than one key."""
    read = found.values.get("jobs")
    jobs = {id: job for id, job in read.items() if isinstance(job, Found)} if isinstance(read, dict) else {}
    node = root.get("jobs")
    ids = [key.text for key, _ in node.entries] if isinstance(node, Mapping) else []
    if isinstance(node, Mapping) and not ids:
        report.add(MISSING_KEY, node, "the workflow has no jobs", mend="Add one below 'jobs'.")
    for job in jobs.values():
        _check_runner(job, report)
        for item in items_of(job.node.get("needs")):
            if isinstance(item, Scalar) and item.text in _needs(job) and item.text not in ids:
                what = f"no job {shown(item.text)} in this file"
                report.add(UNKNOWN_NAME, item, what, mend=nearest(item.text, ids))
        for step in _steps(job):
            _check_step(step, report)
    ring = circle({id: _needs(job) for id, job in jobs.items()})
    if ring:
        needs = items_of(jobs[ring[-1]].node.get("needs"))
        place = next(item for item in needs if isinstance(item, Scalar) and item.text == ring[0])
        what = f"jobs need each other in a circle: {' -> '.join((*ring, ring[0]))}"
        report.add(CYCLE, place, what, mend="Remove one of these.")
    return jobs


def _check_runner(job: Found, report: Report) -> None:
    """Only a Linux machine is here; a label for another must not run on it by chance."""
    labels = items_of(job.node.get("runs-on"))
    linux = False
    for label in labels:
        text = label.text if isinstance(label, Scalar) else ""
        linux = linux or text == "self-hosted" or bool(_LINUX.fullmatch(text))
        if text and "${{" not in text and text.lower() not in _EXTRA_LABELS and not _LINUX.fullmatch(text):
            mend = "Use e.g. 'ubuntu-latest': jobs run on this Linux machine."
            report.add(UNSUPPORTED, label, f"no runner has the label {shown(text)}", mend=mend)
            linux = True
        linux = linux or "${{" in text
    if labels and not linux and isinstance(labels[0], Scalar) and labels[0].text:
        report.add(UNSUPPORTED, labels[0], "no label says Linux", mend="Add 'linux' or 'ubuntu-latest'.")


def _check_step(step: Found, report: Report) -> None:
    given = [key for key in ("run", "uses") if key in step.nodes]
    if len(given) != 1:
        what = "a step needs exactly one of 'run' and 'uses'"
        place = step.at("uses") if given else step.node
        report.add(CONTRADICTION if given else MISSING_KEY, place, what, mend="Keep or add one of them.")
        return
    foreign = ("with",) if given == ["run"] else ("env", "working-directory", "shell")
    for key, _ in step.node.entries:
        if key.text in foreign:
            what = f"{shown(key.text)} has no meaning beside '{given[0]}'"
            report.add(CONTRADICTION, key, what, mend="Remove it.")
    run, uses = step.text("run"), step.text("uses")
    if run is not None and not run.strip():
        report.add(BAD_VALUE, step.at("run"), "the script is empty", mend="Write a command.")
    if uses is not None and "${{" not in uses and not _CHECKOUT.fullmatch(uses):
        mend = "Use 'actions/checkout@v4', or do in a 'run' step what the action does."
        report.add(UNSUPPORTED, step.at("uses"), f"the action {shown(uses)} is not run", mend=mend)


def _steps(job: Found) -> Iterator[Found]:
    steps = job.values.get("steps")
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, Found):
            yield step


def _needs(job: Found) -> tuple[str, ...]:
    needs = job.values.get("needs")
    return tuple(str(name) for name in needs) if isinstance(needs, list) else ()


def _job(id: str, job: Found, root: Found) -> JobRun:
    timeout_s = _timeout_s(job, TIMEOUT_S)
    defaults = _section(_section(root.values, "defaults"), "run")
    defaults |= _section(_section(job.values, "defaults"), "run")
    env = _section(root.values, "env") | _section(job.values, "env")
    steps = tuple(_step(step, env, defaults, timeout_s) for step in _steps(job))
    return JobRun(id=id, needs=_needs(job), steps=steps, timeout_s=timeout_s)


def _step(step: Found, env: dict[str, Any], defaults: dict[str, Any], job_timeout_s: float) -> StepRun:
    run, uses = step.text("run"), step.text("uses")
    shell = step.text("shell") or defaults.get("shell")
    folder = step.text("working_directory") or defaults.get("working_directory", ".")
    first_line = (run or uses or "").strip().partition("\n")[0]
    return StepRun(
        name=step.text("name") or f"Run {first_line[:200]}",
        run=run,
        uses=uses,
        env=env | _section(step.values, "env"),
        working_directory=folder if run is not None else ".",
        timeout_s=_timeout_s(step, job_timeout_s),
        shell=SHELLS[shell],
    )


def _section(values: dict[str, Any], key: str) -> dict[str, Any]:
    section = values.get(key)
    return dict(section) if isinstance(section, dict) else {}


def _timeout_s(found: Found, default_s: float) -> float:
    minutes = found.values.get("timeout")
    return float(minutes) * 60 if isinstance(minutes, int | float) else default_s


def branch_matches(pattern: str, branch: str) -> bool:
    """Whether a branch fits: ``*`` matches within a path segment, ``**`` across."""
    parts = re.split(r"(\*\*|\*)", pattern)
    wild = {"**": ".*", "*": "[^/]*"}
    return re.fullmatch("".join(wild.get(part) or re.escape(part) for part in parts), branch) is not None
