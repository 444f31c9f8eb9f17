"""Realistic views of one month of a shop, for the render tests, the browser tests and the README."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from runpy import run_path

from msgspec.structs import replace
from tests.browser.rollout_samples import under_way

from poise.delivery.rollout.analysis import analysis
from poise.model.attestation import Bill, Lockfile, Outcome
from poise.model.balance import VerdictKind
from poise.model.delivery import RolloutState, RunState, TestCount, Trial, Verb
from poise.model.output import OutputLine, OutputPage
from poise.web import links, overview_views, rollout_views, run_views, service_views
from poise.web import views as v
from poise.web.objective_views import ObjectiveView
from poise.web.output_views import OutputView

NOW = datetime(2026, 11, 28, 9, 40, tzinfo=UTC)
SINCE = NOW - timedelta(days=28)
KEY = "acme/production/storefront"


def chrome(sequence: int = 4_812) -> v.Chrome:
    return v.Chrome(
        at=NOW,
        principal="ana",
        csrf="c5rf-t0ken",
        sequence=sequence,
        may_act=True,
        may_say=True,
        where="acme / production",
    )


def _at(day: int, hour: int, minute: int) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def chart() -> v.Chart:
    random = Random(7)
    points, left = [], 1.0
    step = timedelta(days=28) / 239
    for k in range(240):
        at = SINCE + k * step
        bad = _at(19, 14, 0) <= at < _at(20, 22, 0)
        canary = _at(24, 9, 0) <= at < _at(24, 18, 0)
        error = (0.011 if bad else 0.004 if canary else 0.0004) * random.uniform(0.8, 1.2)
        left -= 0.31 / 11.4 if bad else 0.064 / 3.2 if canary else 0.246 / 240
        latency = 70 + 9 * math.sin(k / 17) + random.uniform(-2, 2) + (110 if bad else 0)
        gap = 150 <= k < 153
        points.append(
            v.ChartPoint(
                at=at,
                budget_left_ratio=round(left, 4),
                error_ratio=None if gap else round(error, 6),
                latency_ms_p95=None if gap else round(latency, 1),
            )
        )
    rollouts = [
        (39, 3, "deploy"),
        (40, 9, "deploy"),
        (41, 14, "deploy"),
        (42, 19, "deploy"),
        (43, 24, "deploy"),
    ]
    markers = [
        v.Marker(at=_at(day, 14, 2), label=f"v{n}", kind=kind, href=links.rollout(KEY, n))
        for n, day, kind in rollouts
    ]
    markers.append(
        v.Marker(at=_at(20, 22, 0), label="v42 rolled back", kind="rollback", href=links.rollout(KEY, 42))
    )
    markers.append(v.Marker(at=_at(26, 3, 12), label="healed", kind="heal"))
    return v.Chart(
        since=SINCE,
        until=NOW,
        window="28 days",
        points=tuple(points),
        markers=tuple(markers),
        bands=(v.Band(since=_at(19, 14, 2), until=_at(20, 22, 0), label="v42 in front of users"),),
        error_goal_ratio=0.001,
    )


def service() -> service_views.ServiceView:
    return service_views.ServiceView(
        chrome=chrome(),
        key=KEY,
        sentence="38 % of the budget is left; at this pace it lasts until 9 December. "
        "Features roll out in 5 steps of 4 min.",
        verdict=VerdictKind.SLOW,
        verdict_at=_at(24, 9, 35),
        reasons=(
            "availability has 38 % left; policy default slows below 40 %",
            "no step may risk more than a tenth of what is left",
            "fixes and rollbacks go at once",
        ),
        budget_left_ratio=0.38,
        objectives=_objectives(),
        chart=chart(),
        running=(
            service_views.RunningRow(
                release="v43", replicas_ready=4, replicas_wanted=4, requests_per_s=410, latency_ms_p95=78
            ),
        ),
        notes=("Healed once in 7 days: replica 2 hung and served again after 3.1 s.",),
        changes=_changes(),
        spends=_spends(),
        permits=_PERMITS["permits"](),
        depends_on=("catalog", "payments"),
        can_roll_back=True,
        settings=_PROJECT["settings"](),
        capacity=_PROJECT["capacity"](),
        environments=(
            service_views.EnvironmentLink(name="staging", key="acme/staging/storefront"),
            service_views.EnvironmentLink(name="production", key=KEY, here=True),
        ),
    )


def held_service() -> service_views.ServiceView:
    """A budget that is spent, and people who do not agree what that means."""
    return replace(
        service(),
        sentence="The budget is spent and overspent by 7 %.",
        verdict=VerdictKind.HOLD,
        reasons=("availability's budget is spent (-7 % is left)",),
        budget_left_ratio=-0.07,
        permits=_PERMITS["permits"](held=True),
    )


def previewed_service() -> service_views.ServiceView:
    """What branches show of it, in every state."""
    return replace(service(), previews=_PROJECT["previews"]())


def held_rollout() -> rollout_views.RolloutView:
    """A release that waits at the gate."""
    return replace(
        rollout(),
        sentence="Waiting: the gate holds it.",
        state=RolloutState.WAITING,
        verdict=VerdictKind.HOLD,
        reasons=("availability's budget is spent (-7 % is left)",),
        weight_percent=0,
        steps=(),
        analysis=analysis(replace(under_way(), trial=Trial(), state=RolloutState.WAITING)),
        chart=None,
        orders=(Verb.ABORT,),
        permits=replace(_PERMITS["permits"](held=True), digest="sha256:4f", rollout=44),
    )


def _objectives() -> tuple[service_views.ObjectiveRow, ...]:
    return (
        service_views.ObjectiveRow(
            name="availability",
            target_ratio=0.999,
            now_ratio=0.99938,
            left_ratio=0.38,
            burn_1h=0.42,
            burn_6h=0.6,
            burn_3d=1.1,
            coverage_ratio=1.0,
        ),
        service_views.ObjectiveRow(
            name="latency under 250 ms",
            target_ratio=0.99,
            now_ratio=0.9952,
            left_ratio=0.52,
            burn_1h=0.31,
            burn_6h=0.4,
            burn_3d=None,
            coverage_ratio=0.998,
        ),
    )


def _changes() -> tuple[service_views.ChangeRow, ...]:
    return (
        service_views.ChangeRow(
            label="v43", summary="cart: fix rounding", at=_at(24, 14, 2), href=links.rollout(KEY, 43)
        ),
        service_views.ChangeRow(
            label="v42",
            summary="cart: new pricing",
            at=_at(19, 14, 2),
            outcome="rolled back",
            bad=True,
            href=links.rollout(KEY, 42),
        ),
        service_views.ChangeRow(label="v41", summary="search: smaller images", at=_at(14, 14, 2)),
    )


def _spends() -> tuple[service_views.SpendRow, ...]:
    return (
        service_views.SpendRow(
            spent_ratio=0.31,
            label="v42",
            summary="cart: new pricing",
            requests=18_240,
            at=_at(19, 14, 2),
            duration_s=115_200,
            followed="rolled back, its digest is remembered",
            href=links.rollout(KEY, 42),
        ),
        service_views.SpendRow(
            spent_ratio=0.064,
            label="v43",
            summary="canary at 10 %",
            requests=3_760,
            at=_at(24, 14, 2),
            duration_s=240,
            followed="recovered by itself",
            href=links.rollout(KEY, 43),
        ),
        service_views.SpendRow(
            spent_ratio=0.246,
            label="background",
            summary="0.04 % of requests",
            requests=14_470,
            followed="no change explains it",
        ),
    )


def overview(count: int = 14) -> overview_views.OverviewView:
    kinds = [VerdictKind.HOLD, VerdictKind.SLOW, VerdictKind.GO, VerdictKind.GO, VerdictKind.GO, None]
    told = {
        VerdictKind.HOLD: "the budget is spent; only fixes go until 3 December.",
        VerdictKind.SLOW: "38 % of the budget is left; features go in small steps.",
        VerdictKind.GO: "all objectives are kept.",
        None: "nothing measured for 4 min: the gate holds.",
    }
    names = ("storefront", "catalog", "payments", "search", "accounts", "mail", "images")
    rows = []
    for k in range(count):
        kind = kinds[min(k, 5)] if k < 2 else (None if k == 5 else VerdictKind.GO)
        rows.append(
            overview_views.ServiceRow(
                key=f"acme/production/{names[k] if k < len(names) else f'worker-{k:03d}'}",
                sentence=told[kind],
                verdict=kind,
                budget_left_ratio={VerdictKind.HOLD: -0.07, VerdictKind.SLOW: 0.38, None: None}.get(
                    kind, 0.6 + 0.39 * ((k * 7) % 10) / 10
                ),
                release=f"v{40 + k % 9}",
                deployed_at=NOW - timedelta(hours=7 * k + 1),
                replicas_ready=1 if k == 3 else 0 if k == 6 else 2,
                replicas_wanted=0 if k == 6 else 2,
                objective=f"acme/production/{names[k]}/availability" if k < len(names) else "",
                trend="" if kind is None else "-8.1 % in 6 h" if k == 0 else "steady",
                burning="availability burns 14.7× too fast since 28 Nov 09:22 UTC: 6.4 % of its budget."
                if k == 0
                else "",
                elsewhere=k == 6,
                rollout=44 if k == 1 else None,
            )
        )
    runs = tuple(
        overview_views.RunRow(
            project="acme", n=61 - k, state=state, summary=what, branch="main", created_at=_at(28, 9 - k, 5)
        )
        for k, (state, what) in enumerate(
            [
                (RunState.RUNNING, "cart: say what the discount was"),
                (RunState.FAILURE, "cart: new pricing, second try"),
                (RunState.SUCCESS, "cart: fix rounding"),
            ]
        )
    )
    return overview_views.OverviewView(chrome=chrome(), services=tuple(rows), runs=runs)


def run(live: bool = False) -> run_views.RunView:
    state = RunState.RUNNING if live else RunState.FAILURE
    text = [
        "$ python -m pip install -r requirements.txt",
        "Successfully installed flask-3.1.0 pytest-8.4.1",
        "$ python -m pytest --junitxml=report.xml",
        "\x1b[1mcollected 42 items\x1b[0m",
        "tests/test_cart.py \x1b[32m.......\x1b[0m\x1b[31mF\x1b[0m......  [ 33 %]",
        "=========== \x1b[31mFAILURES\x1b[0m ===========",
        "    def test_two_discounts_are_not_added():",
        ">       assert price(basket, codes) == Decimal('18.00')",
        "\x1b[31mE       AssertionError: assert Decimal('16.20') == Decimal('18.00')\x1b[0m",
        "tests/test_cart.py:61: AssertionError",
        "===== \x1b[31m1 failed\x1b[0m, 41 passed in 3.91s =====",
    ]
    lines = text[:4] if live else text
    done, code = RunState.SUCCESS, None if live else 1
    return run_views.RunView(
        chrome=chrome(),
        project="acme",
        n=61 if live else 60,
        sentence="runs step test of job build for 4 s; 1 job waits."
        if live
        else "failed in step test of job build after 41 s; nothing was released.",
        state=state,
        commit="9f31c07ad4e2b6c1",
        branch="main",
        summary="cart: new pricing, second try",
        author="Ben",
        created_at=_at(28, 8, 5),
        jobs=(
            run_views.JobView(
                id="lint",
                state=done,
                took_s=3.2,
                steps=(run_views.StepView(name="ruff", state=done, took_s=3.1, exit_code=0, line=1),),
            ),
            run_views.JobView(
                id="build",
                state=state,
                took_s=41,
                steps=(
                    run_views.StepView(name="actions/checkout", state=done, took_s=0.3, exit_code=0),
                    run_views.StepView(name="install", state=done, took_s=36, exit_code=0, line=1),
                    run_views.StepView(name="test", state=state, took_s=4.4, exit_code=code, line=3),
                ),
            ),
            run_views.JobView(
                id="package",
                state=RunState.QUEUED if live else RunState.SKIPPED,
                needs=("lint", "build"),
                steps=(
                    run_views.StepView(name="collect", state=RunState.QUEUED if live else RunState.SKIPPED),
                ),
            ),
        ),
        tests=TestCount() if live else TestCount(passed=41, failed=1),
        lines=tuple(run_views.LogLine(n=n, text=line) for n, line in enumerate(lines, 1)),
    )


LOCKFILE = Lockfile(path="uv.lock", ecosystem="pypi", sha256="0", components=31)


def rollout() -> rollout_views.RolloutView:
    told = (
        (9, 31, "Rollout 44 of storefront began: v44 beside v43", "dev.poise.rollout.started"),
        (9, 32, "Gate: slow, at most 2 % for the first step", "dev.poise.gate.answered"),
        (9, 32, "Canary takes 2 %", "dev.poise.rollout.stepped"),
        (9, 36, "Canary takes 5 %", "dev.poise.rollout.stepped"),
    )
    return rollout_views.RolloutView(
        chrome=chrome(),
        key=KEY,
        n=44,
        sentence="canary at 5 %, step 2 of 5; no worse so far (n = 812). The next step is at 09:44.",
        state=RolloutState.STEPPING,
        release="v44",
        summary="cart: say what the discount was",
        commit="51fd2a90c3",
        change_class="feature",
        created_at=_at(28, 9, 31),
        weight_percent=5,
        verdict=VerdictKind.SLOW,
        verdict_at=_at(28, 9, 36),
        reasons=("availability has 38 % left; policy default slows below 40 %",),
        steps=(
            rollout_views.RolloutStep(weight_percent=2, phase="done", at=_at(28, 9, 32)),
            rollout_views.RolloutStep(weight_percent=5, phase="now", at=_at(28, 9, 36)),
            rollout_views.RolloutStep(weight_percent=10, phase="ahead"),
            rollout_views.RolloutStep(weight_percent=25, phase="ahead"),
            rollout_views.RolloutStep(weight_percent=50, phase="ahead"),
        ),
        stable_release="v43",
        analysis=analysis(under_way()),
        canary_latency_ms_p95=81,
        stable_latency_ms_p95=77,
        chart=chart(),
        orders=(Verb.PROMOTE, Verb.PAUSE, Verb.ABORT),
        provenance=rollout_views.ProvenanceView(
            project="shop",
            digest="sha256:" + "5f2b" * 16,
            outcome=Outcome.VERIFIED,
            text="release 44 was built by run 61 from 51fd2a90c3, signed by the key 9c1d2e3f4a5b",
            signed=True,
            bill=Bill(sha256="1", components={"pypi": 31}, lockfiles=(LOCKFILE,)),
        ),
        history=tuple(
            v.EventRow(
                sequence=4_800 + k, at=_at(28, hour, minute), type=kind, subject=f"{KEY}/000044", summary=text
            )
            for k, (hour, minute, text, kind) in enumerate(told)
        ),
    )


def audit() -> v.AuditView:
    return v.AuditView(
        chrome=chrome(),
        events=rollout().history[::-1],
        total=4_812,
        chain_ok=True,
        chain_checked_at=_at(28, 9, 0),
        next_href="/audit?before=4800",
    )


def login() -> v.LoginView:
    return v.LoginView(chrome=v.Chrome(at=NOW, csrf="c5rf-t0ken"), next="/audit")


def error() -> v.ErrorView:
    return v.ErrorView(
        chrome=chrome(),
        status=404,
        code="POISE-A404",
        what="There is no service shopfront in acme / production.",
        where="/services/acme/production/shopfront",
        why="The nearest name is storefront.",
        mend="poise status",
    )


def empty() -> v.EmptyView:
    return v.EmptyView(
        chrome=chrome(),
        title="Welcome",
        sentence="Nothing is deployed yet. Three commands put your app in front of users.",
        commands=(
            "poise plan",
            "git remote add poise http://127.0.0.1:8400/git/acme.git",
            "git push poise main",
        ),
    )


_PROJECT = run_path(str(Path(__file__).with_name("project_samples.py")))
_PERMITS = run_path(str(Path(__file__).with_name("permit_samples.py")))
scorecard, oncall, delivery = _PROJECT["scorecard"], _PROJECT["oncall"], _PROJECT["delivery"]

_INCIDENT = run_path(str(Path(__file__).with_name("incident_samples.py")))
incident_row, incidents, incident = _INCIDENT["incident_row"], _INCIDENT["incidents"], _INCIDENT["incident"]
review, no_review, event = _INCIDENT["review"], _INCIDENT["no_review"], _INCIDENT["event"]

_TRACE = run_path(str(Path(__file__).with_name("trace_samples.py")))
trace, traces, no_traces, found_records = (
    _TRACE[name] for name in ("trace", "traces", "no_traces", "found_records")
)


def output(live: bool = False, problem: bool = False) -> OutputView:
    texts = [
        ("44-0", "2026-11-28T09:34:58.120Z INFO  cart: 3 items, total 54.00"),
        ("44-1", "2026-11-28T09:34:58.411Z WARN  payments: answered after 1,204 ms"),
        ("44-0", "2026-11-28T09:34:59.003Z ERROR payments: card declined <script>alert(1)</script>"),
        ("44-0", "Traceback (most recent call last):"),
        ("44-0", '  File "/app/cart.py", line 61, in price ' + "and a very long reason " * 12),
        ("43-1", "terminated: out of memory"),
    ]
    items = tuple(
        OutputLine(
            source=source, offset=100 * k, text=text, at=_at(28, 9, 34) + timedelta(seconds=k),
            earlier_s=0.5, is_context=k == 3, cut_chars=1_200 if k == 4 else 0,
        )
        for k, (source, text) in enumerate(texts)
    )  # fmt: skip
    page = OutputPage(
        items=() if problem else items, cursor="e30", sources=("43-1", "44-0", "44-1"),
        searched_bytes=31_000_000, total_bytes=90_000_000, took_ms=210.0,
    )  # fmt: skip
    return OutputView(
        chrome=chrome(), name="storefront", title="acme/production/storefront",
        back=("acme/production/storefront", "/services/acme/production/storefront"),
        here="/logs/acme/production/storefront", asked={"grep": "(WARN|ERROR", "since": "10m"}, page=page,
        choices=("44-1", "44-0", "43-1"), stream=links.log_stream(KEY) if live else "",
        problem="POISE-Y101 '(WARN|ERROR' is no regular expression: missing )" if problem else "",
        mend="See github.com/google/re2/wiki/Syntax." if problem else "",
    )  # fmt: skip


_OBJECTIVE = run_path(str(Path(__file__).with_name("objective_samples.py")))


def objective(kind: str = "objective") -> ObjectiveView:
    """An objective: usual, ``young`` or ``overspent``."""
    made: ObjectiveView = _OBJECTIVE[kind](chrome())
    return made
