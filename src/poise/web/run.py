"""The run page: where it stands, which step, and its log as it comes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import htpy as h

from poise.model.delivery import RunState
from poise.web import links
from poise.web.graph import job_graph
from poise.web.parts import card, document, headline, link, run_pill, scroll, table
from poise.web.run_views import LOG_LINES_MAX, JobView, LogLine, RunView
from poise.web.wording import duration, moment, plain, plural

_ERROR = re.compile(r"\b(?:\w*error|errors|failed|failures?|fatal|panic|traceback)\b|\bE {3}", re.IGNORECASE)
_NO_ERROR = re.compile(r"\b(?:0|no) (?:errors?|failed|failures?)\b", re.IGNORECASE)


def run(view: RunView) -> str:
    """The run page as a document."""
    lines = [LogLine(n=line.n, text=plain(line.text)) for line in view.lines[-LOG_LINES_MAX:]]
    main = h.fragment[
        headline(f"{view.project} #{view.n}", _context(view), run_pill(view.state), view.sentence),
        view.problem and h.p(".problem")[view.problem],
        card("Jobs", scroll("Graph of jobs", job_graph(view.jobs)), _steps(view.jobs)) if view.jobs else None,
        _results(view),
        _log(view, lines),
    ]
    return document(
        view.chrome,
        f"{view.project} #{view.n}: {view.state.value}",
        main,
        live=f"{view.project}/{view.n:06d}",
        scripts=("log.js",),
    )


def first_error(lines: Iterable[LogLine]) -> int | None:
    """The number of the first line that reads like an error; "0 errors" does not."""
    return next(
        (line.n for line in lines if _ERROR.search(line.text) and not _NO_ERROR.search(line.text)), None
    )


def _context(view: RunView) -> h.Node:
    return [
        "· ",
        view.summary,
        " · ",
        h.span(".mono")[view.commit[:10]],
        " on ",
        h.span(".mono")[view.branch],
        f" by {view.author} · ",
        moment(view.created_at),
    ]


def _steps(jobs: Sequence[JobView]) -> h.Node:
    return h.div(".jobs")[(_job(job) for job in jobs)]


def _job(job: JobView) -> h.Element:
    rows = [
        (
            step.name,
            run_pill(step.state),
            "" if step.exit_code in (None, 0) else str(step.exit_code),
            duration(step.took_s),
            "" if step.line is None else h.a(href=f"#L{step.line}")[f"line {step.line}"],
        )
        for step in job.steps
    ]
    opened = job.state in (RunState.RUNNING, RunState.FAILURE, RunState.ERROR, RunState.TIMEOUT)
    return h.details(id=f"job-{job.id}", open=opened)[
        h.summary[h.strong[job.id], " ", run_pill(job.state), duration(job.took_s)],
        table(f"Steps of {job.id}", ("step", "state", "exit", "took", "log"), rows, "lllrr"),
    ]


def _results(view: RunView) -> h.Element | None:
    tests = view.tests
    counted = tests.passed + tests.failed + tests.skipped
    if not counted and not view.releases:
        return None
    said = f"{tests.passed:,} passed, {tests.failed:,} failed, {tests.skipped:,} skipped"
    return card(
        "What it yielded",
        h.p[f"{plural(counted, 'test')}: ", h.strong(".bad")[said] if tests.failed else said]
        if counted
        else None,
        h.p["Released ", [[i > 0 and ", ", link(text, href)] for i, (text, href) in enumerate(view.releases)]]
        if view.releases
        else None,
    )


def _log(view: RunView, lines: Sequence[LogLine]) -> h.Element:
    last = lines[-1].n if lines else 0
    hidden = lines[0].n - 1 if lines else 0
    trouble = (
        first_error(lines) if view.state in (RunState.FAILURE, RunState.ERROR, RunState.TIMEOUT) else None
    )
    state = "Live: new lines come by themselves." if view.live else f"{plural(last, 'line')}."
    return h.section("#log-card")[
        h.h2["Log"],
        h.p(".logbar")[
            h.span("#log-state", role="status")[state],
            hidden > 0 and h.span(".mute")[f"{plural(hidden, 'earlier line')} not shown."],
            trouble is not None and h.a(href=f"#L{trouble}", accesskey="e")["First error ", h.kbd["e"]],
            h.a(href="#log-end", accesskey="l")["End ", h.kbd["l"]],
            h.a(href=links.run_logs(view.project, view.n))["Search it"],
        ],
        h.div(
            "#log.log",
            tabindex="0",
            role="log",
            aria_live="off",
            aria_label="Log",
            data_keep=True,
            data_log=links.run_log(view.project, view.n) if view.live else None,
            data_after=str(last),
            data_max=str(LOG_LINES_MAX),
        )[(_line(line, trouble) for line in lines)],
        h.span("#log-end"),
    ]


def _line(line: LogLine, trouble: int | None) -> h.Element:
    return h.div(id=f"L{line.n}", class_="first-error" if line.n == trouble else None)[
        h.a(href=f"#L{line.n}", aria_label=f"Line {line.n}")[str(line.n)], h.code[line.text or " "]
    ]
