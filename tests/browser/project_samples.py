"""Views of a whole project: its scorecard, who is on call, and what it delivered."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from poise.delivery.branch_preview.decide import sentence
from poise.delivery.branch_preview.naming import label_of
from poise.model.branch_preview import BranchPreview, PreviewState
from poise.model.delivery import RunState
from poise.model.oncall import (
    Contact,
    ContactKind,
    OnCallOverride,
    OnCallSchedule,
    Person,
    Rotation,
    ShiftUnit,
)
from poise.web import delivery_views as d
from poise.web import links, oncall_compose, service_views
from poise.web import oncall as o
from poise.web import scorecard as s
from poise.web import views as v

NOW = datetime(2026, 11, 28, 9, 40, tzinfo=UTC)
KEY = "acme/production/storefront"


def chrome() -> v.Chrome:
    return v.Chrome(
        at=NOW, principal="ana", csrf="c5rf-t0ken", sequence=4_812, may_act=True, may_say=True,
        where="acme", project="acme",
    )  # fmt: skip


VALUES: dict[str, tuple[float | None, ...]] = {
    "per_day": (0.9, 1.4, None, 2.1),
    "seconds": (5_400.0, 3_100.0, None, 2_460.0),
    "ratio": (0.0, 0.14, None, 0.06),
}


def _evidence() -> tuple[s.EvidenceRow, ...]:
    return tuple(
        s.EvidenceRow(
            label=f"storefront r{n}", at=NOW - timedelta(days=44 - n), href=links.rollout(KEY, n),
            summary="rolled back, an incident is linked to it" if n == 42 else "went live",
            commits=n % 5, guessed=n == 42,
            incidents=(("incident 118", links.incident("acme", 118)),) if n == 42 else (),
        )
        for n in range(43, 36, -1)
    )  # fmt: skip


def _figure(title: str, unit: str, value: float | None, before: float | None, said: str) -> s.FigureView:
    weeks = enumerate(VALUES[unit])
    return s.FigureView(
        title=title, meaning="What it means, in a sentence.", unit=unit, value=value, sentence=said,
        before=before, guessed=int(unit == "ratio"), certain=0.03 if unit == "ratio" else value, total=60,
        trend=tuple(
            s.Stretch(
                start=NOW - timedelta(days=28 - 7 * k), end=NOW - timedelta(days=21 - 7 * k),
                value=one, deployments=0 if one is None else 12,
            )
            for k, one in weeks
        ),
        evidence=_evidence(),
    )  # fmt: skip


def scorecard() -> s.ScorecardView:
    """Four weeks with one empty week, a guessed link and a ratio of exactly zero."""

    def to(**asked: str) -> str:
        return links.scorecard("acme") + "?" + "&".join(f"{k}={one}" for k, one in asked.items())

    return s.ScorecardView(
        chrome=chrome(), project="acme", scope="acme / production", window="28 days",
        sentence="31 deployments went live, up from 24 in the window before. 2 of 33 deployments failed.",
        since=NOW - timedelta(days=28), until=NOW,
        environments=(
            s.Choice(label="staging", href=to(environment="staging")),
            s.Choice(label="production", href=to(environment="production"), chosen=True),
        ),
        services=tuple(
            s.Choice(label=one, href=to(service=one), chosen=one == "all")
            for one in ("all", "storefront", "payments")
        ),
        windows=(
            s.Choice(label="7 days", href=to(window="7d")),
            s.Choice(label="28 days", href=to(window="28d"), chosen=True),
        ),
        figures=(
            _figure("Deployment frequency", "per_day", 1.11, 0.86, "31 deployments went live in 28 days."),
            _figure("Change lead time", "seconds", 3100.0, 4000.0, "Half of 61 commits took 51 min."),
            _figure("Change fail ratio", "ratio", 0.061, 0.061, "2 of 33 deployments failed."),
            _figure("Failed deployment recovery time", "seconds", 2460.0, None, "Half were over in 41 min."),
            s.FigureView(
                title="Rework ratio", meaning="Repairs.", unit="ratio", value=None, sentence="No repair."
            ),
        ),
        objectives=s.ObjectivesView(
            sentence="1 of 2 objectives has budget left.",
            rows=(
                ("storefront / availability", "has budget left", links.service(KEY)),
                ("storefront / latency", "is spent", links.service(KEY)),
            ),
        ),
    )  # fmt: skip


def schedule(until_hour: str | None = None) -> OnCallSchedule:
    people = tuple(
        Person(name=name, contacts=(Contact(kind=ContactKind.EMAIL, address=f"{name}@example.org"),))
        for name in ("anna", "ben", "chiara")
    )
    weekly = Rotation(
        people=("anna", "ben", "chiara"), unit=ShiftUnit.WEEKLY, starts=date(2026, 11, 2), handoff="09:00",
        from_hour="00:00" if until_hour else None, until_hour=until_hour,
    )  # fmt: skip
    return OnCallSchedule(project="acme", name="shop", zone="Europe/Rome", people=people, rotations=(weekly,))


def overrides() -> list[OnCallOverride]:
    def one(n: int, person: str, day: int, cancelled: bool = False) -> OnCallOverride:
        return OnCallOverride(
            project="acme", schedule="shop", n=n, person=person, by="ana", reason="the dentist", at=NOW,
            starts_at=datetime(2026, 12, day, 8, tzinfo=UTC),
            ends_at=datetime(2026, 12, day, 17, tzinfo=UTC), cancelled=cancelled,
        )  # fmt: skip

    return [one(1, "ben", 3, cancelled=True), one(2, "chiara", 2)]


def oncall(until_hour: str | None = None) -> o.OnCallView:
    shown = oncall_compose.schedule_view(schedule(until_hour), overrides(), NOW)
    return o.OnCallView(chrome=chrome(), project="acme", schedules=(shown,))


def answered(worst: float = 0.004, latency_ms: float = 40.0) -> tuple[d.Answered, ...]:
    """A week in ninety steps: a gap on the third day, and errors that rise after the rollback's release."""
    step = timedelta(days=7) / 90
    made = []
    for n in range(90):
        at = NOW - step * (89 - n)
        bad = 0 <= n - 78 < 4
        made.append(
            d.Answered(
                at=at,
                error_ratio=None if 30 <= n < 34 else worst if bad else 0.0002 + 0.0001 * (n % 5),
                latency_ms_p50=None if 30 <= n < 34 else latency_ms + n % 7,
                latency_ms_p99=None if 30 <= n < 34 else (latency_ms * (9 if bad else 5)) + 3 * (n % 11),
            )
        )
    return tuple(made)


def delivery(pile: int = 14, problem: str = "") -> d.DeliveryView:
    """A week with a pile of deploys within an hour, settings, a rollback and an incident."""
    piled = tuple(
        d.Mark(
            at=NOW - timedelta(days=2, minutes=4 * k), label=f"r{30 + k}", summary="cart: small steps",
            href=links.rollout(KEY, 30 + k),
        )
        for k in range(pile)
    )  # fmt: skip
    bad = (
        d.Mark(at=NOW - timedelta(days=1), label="config 17", kind="settings", summary="timeout 2 s"),
        d.Mark(at=NOW - timedelta(hours=20), label="r45 rolled back", kind="rollback"),
        d.Mark(
            at=NOW - timedelta(hours=19), label="incident 118", kind="incident",
            href=links.incident("acme", 118),
        ),
    )  # fmt: skip
    stops = (
        d.Stop(environment="staging", label="storefront r45", word="live", href=links.rollout(KEY, 45)),
        d.Stop(environment="production", label="storefront r45", word="rolled back", bad=True),
    )
    points = () if problem else answered()
    hurt = v.Band(since=NOW - timedelta(hours=20), until=NOW - timedelta(hours=14), label="incident 118")
    return d.DeliveryView(
        step_s=6720.0, problem=problem,
        chrome=chrome(), project="acme", window="7 days", since=NOW - timedelta(days=7), until=NOW,
        sentence="15 changes in 7 days, 1 rolled back, 1 waits at the gate.",
        windows=(
            d.Choice(label="24 hours", href=f"{links.delivery('acme')}?window=24h"),
            d.Choice(label="7 days", href=f"{links.delivery('acme')}?window=7d", chosen=True),
        ),
        environments=("staging", "production"),
        lanes=(
            d.Lane(name="storefront", environment="staging", href=links.service(KEY), marks=piled),
            d.Lane(
                name="storefront", environment="production", href=links.service(KEY), marks=bad + piled,
                bands=(hurt,), answered=() if problem else answered(0.034),
            ),
            d.Lane(name="payments", environment="production", href=links.service(KEY), answered=points),
        ),
        changes=(
            d.ChangeLine(
                label="9f31c07ad4", summary="cart: new pricing", by="Ben", at=NOW - timedelta(hours=21),
                run=60, run_state=RunState.SUCCESS, run_href=links.run("acme", 60),
                releases=(("storefront r45", ""),), stops=stops,
            ),
            d.ChangeLine(
                label="config 17", summary="payments: timeout 2 s", by="ana", at=NOW - timedelta(days=1),
                stops=(d.Stop(environment="production", label="payments config 17", word="live"),),
            ),
        ),
    )  # fmt: skip


def settings() -> service_views.SettingsView:
    """A config on its way, and a secret whose value nobody sees."""
    return service_views.SettingsView(
        config=17, config_live=16, secret=2, secret_live=2, changed_at=NOW, changed_by="ben",
        reason="payments answer slowly",
        rows=(
            service_views.SettingRow(name="TIMEOUT_S", value="2", changed_in=17),
            service_views.SettingRow(name="GREETING", value="hello " * 60, changed_in=3),
            service_views.SettingRow(name="API_KEY", value=None, changed_in=2),
        ),
    )  # fmt: skip


def capacity() -> service_views.CapacityView:
    """One replica that was not measured yet."""
    return service_views.CapacityView(
        wanted=4, min=2, max=8, reason="410 requests per second need 4 at 5 % waiting",
        withheld="the flap budget of today is used up",
        rows=(
            service_views.ReplicaRow(
                release="r43", index=0, word="ready", cpu_ratio=0.31, memory_bytes=52_428_800.0
            ),
            service_views.ReplicaRow(release="r43", index=1, word="starting", restarts=1),
        ),
    )  # fmt: skip


def previews() -> tuple[service_views.PreviewRow, ...]:
    """Each state that a branch's preview has; one with a long name, and one that failed and still answers."""
    said = {
        "feature/login-2": (PreviewState.READY, True, ""),
        "feature/prices-in-euro-and-yen-with-a-name-that-no-phone-is-wide-enough-for": (
            PreviewState.READY, True, "",
        ),
        "feature/search": (PreviewState.BUILDING, False, ""),
        "fix/rounding": (PreviewState.STARTING, False, ""),
        "feature/broken": (
            PreviewState.FAILED, True,
            "9f31c07a crashed 3 times before it was ready (exit code 3); 51fd2a90 still answers",
        ),
        "feature/typo": (
            PreviewState.FAILED, False,
            "run 64 of 77ab01cd ended in error: POISE-S110 'prot' is not a key of 'spec' (poise.yaml:7:3). "
            "Did you mean 'port'? Edit poise.yaml line 7",
        ),
        "feature/old": (PreviewState.STOPPED, False, "ben asked for it (seen enough)"),
        "feature/basket": (PreviewState.STOPPED, False, "branch feature/basket was deleted"),
    }  # fmt: skip
    return tuple(_preview(k, branch, *told) for k, (branch, told) in enumerate(said.items()))


def _preview(
    k: int, branch: str, state: PreviewState, answers: bool, reason: str
) -> service_views.PreviewRow:
    """A row as it is made of what is on record."""
    label, until = label_of(branch, {}, (), ()), NOW + timedelta(hours=23 - k)
    host = f"{label}.storefront.localhost"
    one = BranchPreview(
        project="acme", branch=branch, label=label, service="storefront", host=host,
        state=state, commit=f"{k}f31c07ad4", run=60 + k, taken_at=NOW, until=until, reason=reason,
        changed_at=NOW,
    )  # fmt: skip
    return service_views.PreviewRow(
        branch=branch, label=label, commit=one.commit, state=state,
        address=f"http://{one.host}:8080/" if answers else "", told=f"T{sentence(one)[1:]}.",
        logs=links.logs(one.key), run=links.run("acme", one.run), until=until, once=str(k),
    )  # fmt: skip
