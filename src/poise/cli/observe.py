"""Observe: status, slo, budget, why, explain, audit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from cyclopts import App, Parameter

from poise.api.views import Page, ServiceStatus, Status
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, declared_in, project_of, service_key
from poise.engine.journal import ChainReport
from poise.model.balance import Budget
from poise.model.errors import Invalid, NotFound, PoiseError
from poise.model.period import name as window_name
from poise.model.record import Recorded
from poise.model.spend import BurnNow, Outlook, SpendLedger, of_budget
from poise.model.standing import mend_of

if TYPE_CHECKING:
    from poise.spec.service import Declared


def service_path(key: str) -> str:
    """The API's path of a service."""
    project, environment, service = (quote(part, safe="") for part in key.split("/"))
    return f"/api/v1/projects/{project}/environments/{environment}/services/{service}"


def status(service: str | None = None, *, everywhere: bool = False, common: Common = COMMON) -> None:
    """Every service: what is live, replicas, budget left, what the gate says.

    Parameters
    ----------
    service
        One service with each of its replicas, their CPU and memory.
    everywhere
        All projects, not only this folder's.
    """
    if service is not None:
        return _show_service(service, common)
    with Client(common) as client:
        found = client.get("/api/v1/status", Status, project=None if everywhere else project_of(common))
        if not found.services and not everywhere:
            found = client.get("/api/v1/status", Status)
    if common.json:
        return output.data(found)
    output.say(found.sentence)
    if found.open_incidents:
        are = "incident is" if found.open_incidents == 1 else "incidents are"
        output.say(f"{found.open_incidents} {are} open. See: poise incident list")
    output.table(
        ("service", "gate", "budget left", "live", "canary", "replicas", ""), map(_row, found.services)
    )
    if found.previews:
        from poise.cli.previews import show

        output.say("")
        show(found.previews, common)
    return None


def _row(one: ServiceStatus) -> tuple[str, ...]:
    worst = min((budget.left_ratio for budget in one.budgets), default=None)
    canary = f"r{one.active.release} {one.active.weight_percent} %" if one.active else ""
    live = f"r{one.live.release}" if one.live else "–"
    elsewhere = one.service.runs_elsewhere
    ready = "elsewhere" if elsewhere else f"{one.replicas_ready}/{one.replicas_wanted}"
    return one.key, one.verdict.kind.value, output.percent(worst), live, canary, ready, one.sentence


def _show_service(service: str, common: Common) -> None:
    key = service_key(common, service)
    with Client(common) as client:
        found = client.get(service_path(key), ServiceStatus)
    if common.json:
        return output.data(found)
    output.say(f"{key}: {found.sentence}")
    used = {(one.rollout, one.index): one for one in found.usage}
    rows = []
    for one in found.replicas:
        use = used.get((one.rollout, one.index))
        state = "leaving" if one.draining else "ready" if one.ready else "not ready"
        memory = "–" if use is None or use.memory_bytes is None else f"{use.memory_bytes / 2**20:.1f} MiB"
        cpu = output.percent(use.cpu_ratio if use else None)
        rows.append(
            (f"{one.rollout}/{one.index}", state, cpu, memory, str(one.restarts), str(one.port or ""))
        )
    return output.table(("replica", "state", "CPU", "memory", "restarts", "port"), rows)


def budget(
    service: str,
    *,
    ledger: Annotated[bool, Parameter(help="What each budget was spent on, and who spent it.")] = False,
    objective: Annotated[str, Parameter(help="This objective alone.")] = "",
    common: Common = COMMON,
) -> None:
    """The error budgets of a service in events: good, bad, allowed, left, and the forecast."""
    with Client(common) as client:
        key = service_key(common, service)
        budgets, outlooks = _budgets(client, key), _outlooks(client, key)
        ledgers = _ledgers(client, key) if ledger else []
    if objective:
        if objective not in (known := [one.objective for one in budgets]):
            there = f"There are: {', '.join(known)}." if known else "None has a budget yet."
            raise NotFound("POISE-E302", f"no objective {objective} in {key}", why=there)
        budgets = [one for one in budgets if one.objective == objective]
        outlooks = [one for one in outlooks if one.objective == objective]
        ledgers = [one for one in ledgers if one.objective == objective]
    sizes = {one.objective: one for one in budgets}
    ledgers = [of_budget(one, sizes.get(one.objective)) for one in ledgers]
    if common.json:
        return output.data({"ledgers": ledgers, "outlooks": outlooks} if ledger else budgets)
    if ledger:
        return _show_ledgers(ledgers)
    by_objective = {one.objective: one for one in outlooks}
    rows = [
        (
            one.objective,
            f"{one.good:.0f}",
            f"{one.bad:.0f}",
            f"{one.allowed:.1f}",
            output.percent(one.left_ratio),
            foreseen(by_objective.get(one.objective)),
        )
        for one in budgets
    ]
    output.table(("objective", "good", "bad", "allowed", "left", "forecast"), rows)
    for one in outlooks:
        if one.burn is not None:
            output.say(burning(one.objective, one.burn))
    return None


def foreseen(outlook: Outlook | None) -> str:
    """What will be left, in a few words; why nothing is said where it is not."""
    found = outlook.foresight if outlook is not None else None
    if found is None:
        return "after 4 days of counts"
    if found.returns_at is not None:
        return f"back about {found.returns_at.day} {found.returns_at:%B %H:%M} UTC"
    low, high = output.percent(found.left_low), output.percent(found.left_high)
    spent = f", spent with a chance of {output.percent(found.spent_chance)}" if found.spent_chance else ""
    return f"{low} to {high} in 24 h{spent}"


def burning(objective: str, burn: BurnNow) -> str:
    """A burn that goes on, in one sentence."""
    since = f"{burn.since:%Y-%m-%d %H:%M} UTC"
    return (
        f"{objective} burns{burn.where} {burn.burn_rate:.3g} times too fast since {since}: "
        f"{burn.bad:.0f} failed, {output.percent(burn.spent_ratio)} of the budget "
        f"({output.percent(burn.real_chance)} likely to be real)."
    )


def _show_ledgers(ledgers: Sequence[SpendLedger]) -> None:
    """Each entry, and what is usual; the sum is all that was spent."""
    rows = []
    for one in ledgers:
        for entry in one.entries:
            until = f"{entry.until:%m-%d %H:%M}" if entry.until else "now"
            rows.append(
                (
                    one.objective,
                    f"{entry.since:%m-%d %H:%M} to {until}",
                    f"{entry.bad:.0f}",
                    output.percent(entry.spent_ratio),
                    entry.cause.value,
                    entry.name,
                    entry.why,
                )
            )
        share = output.percent(one.usual_bad / one.allowed if one.allowed > 0 else None)
        rows.append((one.objective, "the usual", f"{one.usual_bad:.0f}", share, "", "", "in no episode"))
        whole = output.percent(one.bad / one.allowed if one.allowed > 0 else None)
        rows.append((one.objective, "all", f"{one.bad:.0f}", whole, "", "", f"of {one.allowed:.1f} allowed"))
    output.table(("objective", "when (UTC)", "bad", "of budget", "spent by", "", "why"), rows)


def _budgets(client: Client, key: str) -> list[Budget]:
    return client.get(service_path(key) + "/budgets", Page[Budget]).items


def _outlooks(client: Client, key: str) -> list[Outlook]:
    return client.get(service_path(key) + "/outlooks", Page[Outlook]).items


def _ledgers(client: Client, key: str) -> list[SpendLedger]:
    return client.get(service_path(key) + "/ledgers", Page[SpendLedger]).items


def show_budgets(service: str, common: Common) -> None:
    """The objectives of a service and how their budgets stand."""
    key = service_key(common, service)
    with Client(common) as client:
        found = client.get(service_path(key), ServiceStatus)
    if common.json:
        return output.data({"objectives": found.objectives, "budgets": found.budgets})
    budgets = {one.objective: one for one in found.budgets}
    rows = []
    for objective in found.objectives:
        one = budgets.get(objective.name)
        events = one.good + one.bad if one else 0
        now = one.good / events if one and events else None
        rows.append(
            (
                f"{objective.name} ({one.group})" if one and one.group else objective.name,
                output.percent(objective.target_ratio, 2),
                window_name(objective.window),
                output.percent(now, 3),
                _left(one),
                *(_burn(one, window_s) for window_s in (3600.0, 21_600.0)),
                output.percent(one.coverage_ratio if one else None),
            )
        )
    head = ("objective", "target", "window", "now", "left", "burn 1h", "burn 6h", "measured")
    output.table(head, rows)
    _show_periods(found.budgets)
    for one in found.budgets:
        if one.contradiction is not None:
            output.say(f"{one.objective}: {one.contradiction.sentence}, so that time is unknown")
            output.say(f"  {mend_of(one)}")
    return None


def _left(one: Budget | None) -> str:
    """What is left, and what would be without exclusions."""
    left = output.percent(one.left_ratio if one else None)
    if one is None or one.unadjusted_left_ratio is None:
        return left
    return f"{left} ({output.percent(one.unadjusted_left_ratio)} without exclusions)"


def _show_periods(budgets: Sequence[Budget]) -> None:
    rows = [
        (one.objective, period.name, f"{period.start:%Y-%m-%d %H:%M}", f"{period.end:%Y-%m-%d %H:%M}",
         output.percent(period.left_ratio), output.percent(period.coverage_ratio))
        for one in budgets
        for period in one.periods
    ]  # fmt: skip
    if rows:
        output.table(("objective", "window", "from (UTC)", "to (UTC)", "left", "measured"), rows)


def _burn(one: Budget | None, window_s: float) -> str:
    found = next((burn for burn in one.burns if burn.window_s == window_s), None) if one else None
    return "–" if found is None or found.rate is None else f"{found.rate:.1f}x"


def explain(
    what: str,
    *,
    file: Annotated[Path, Parameter(help="The spec to read.")] = Path("poise.yaml"),
    common: Common = COMMON,
) -> None:
    """The settings in force for service/NAME, slo/SERVICE/NAME or scrape/JOB. Needs no server."""
    from poise.spec.explain import explain as explain_service

    name = what.removeprefix("service/")
    declared = declared_in(file, common)
    if what.startswith("scrape/"):
        return _explain_scrape(what.removeprefix("scrape/"), declared, file, common)
    if what.startswith("slo/"):
        return _explain_objective(what.removeprefix("slo/"), declared, file, common)
    environments = reversed(declared.project.environments)
    wanted = (common.named_environment,) if common.named_environment else tuple(environments)
    for environment in wanted:
        for service in declared.services:
            if (service.name, service.environment) != (name, environment):
                continue
            mine = tuple(one for one in declared.objectives if one.service == service.key)
            project = declared.project
            return _settings(explain_service(service, mine, project.policy, project.previews), common)
    names = ", ".join(one.name for one in declared.services)
    raise NotFound("POISE-E302", f"no service {name} in {file}", why=f"It declares {names}.")


def _explain_objective(name: str, declared: Declared, file: Path, common: Common) -> None:
    """``service/objective``, or ``objective`` where one alone has that name."""
    from poise.spec.explain_objective import explain_objective

    environments = reversed(declared.project.environments)
    wanted = (common.named_environment,) if common.named_environment else tuple(environments)
    for environment in wanted:
        here = [one for one in declared.objectives if one.key.split("/")[1] == environment]
        mine = [one for one in here if name in (one.name, "/".join(one.key.split("/")[2:]))]
        if len(mine) > 1:
            known = ", ".join("slo/" + "/".join(one.key.split("/")[2:]) for one in mine)
            raise Invalid(
                "POISE-E303", f"several objectives are called {name}", mend=f"Write one of {known}."
            )
        if mine:
            return _settings(explain_objective(mine[0], here), common)
    names = ", ".join(dict.fromkeys("/".join(one.key.split("/")[2:]) for one in declared.objectives))
    raise NotFound("POISE-E302", f"no objective {name} in {file}", why=f"It declares {names}.")


def _explain_scrape(name: str, declared: Declared, file: Path, common: Common) -> None:
    from poise.spec.scrape import scrape_words

    for config in declared.project.scrapes:
        if config.name == name:
            return _settings(scrape_words(config), common)
    names = ", ".join(one.name for one in declared.project.scrapes) or "none"
    raise NotFound("POISE-E302", f"no scrape configuration {name} in {file}", why=f"It declares {names}.")


def _settings(rows: Sequence[tuple[str, str, str]], common: Common) -> None:
    if common.json:
        return output.data([{"field": f, "value": v, "origin": o} for f, v, o in rows])
    return output.table(("setting", "value", "from"), [(f, str(v), o) for f, v, o in rows])


audit = App(name="audit", help="The journal: who did what, when, why; and whether it is whole.")


@audit.command
def verify(*, common: Common = COMMON) -> int:
    """Walk the hash chain; exit 1 when an event was changed, added or removed."""
    with Client(common) as client:
        report = client.get("/api/v1/audit", ChainReport)
    if common.json:
        output.data(
            {
                "events": report.events,
                "chain_ok": report.ok,
                "head": report.head_hash,
                "problem": report.problem,
            }
        )
    elif report.ok:
        output.say(f"{report.events} events, the chain is whole; head {report.head_hash[:16]}.")
    else:
        raise PoiseError(
            "POISE-E601",
            f"the journal is broken: {report.problem}",
            mend="Run: poise restore --verify <backup>",
        )
    return 0 if report.ok else 1


@audit.command
def log(*, subject: str = "", last: int = 50, common: Common = COMMON) -> None:
    """The newest events, one a line."""
    project = project_of(common)
    with Client(common) as client:
        rows = client.get(
            f"/api/v1/projects/{project}/events",
            Page[Recorded],
            subject=subject,
            newest=True,
            limit=min(last, 500),
        ).items
    for row in rows:
        event = row.event
        text = f"{row.sequence} {row.at:%Y-%m-%dT%H:%M:%SZ} {event.actor} {event.subject}: {event.summary}"
        output.data(row) if common.json else output.say(text)
