"""The stages respond and review: a bad setting is forced past the gate; who is on call ends it and learns."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from poise.api.incidents import IncidentView
from poise.api.views import Page
from poise.cli.story.scene import Scene
from poise.cli.story.shipping import must
from poise.cli.story.shop import ON_CALL, PROJECT
from poise.model.delivery import Rollout, RolloutState
from poise.model.incident import Alert, Incident, SuspectKind
from poise.model.review import Review

INNOCENT: Final = (("catalog", "GREETING=welcome"), ("storefront", "BANNER=sale"))
GUILTY: Final = ("payments", "CURRENCY=EURO")
FORCED: Final = "the new price list must be out today; ada has agreed"
INNOCENT_MOST_S: Final = 90.0
ALERT_MOST_S: Final = 60.0
END_MOST_S: Final = 60.0


async def respond(scene: Scene, facts: dict[str, Any]) -> None:
    """Three settings change, one is bad and forced past the gate: who broke it, and who is told?"""
    await _innocents(scene)
    changed_at = await _force(scene, facts)
    view = await _incident(scene, facts, changed_at)
    number = view.incident.n
    await _answer(scene, facts, changed_at, number)
    facts["true_cause_rank"] = await _rank(scene, number)
    must(facts["true_cause_rank"] == 1, "the true cause is not ranked first")
    await _end(scene, facts, number)


async def _innocents(scene: Scene) -> None:
    """Settings that break nothing, out to all users before the bad one."""
    versions = {name: await _newest(scene, name) for name, _ in INNOCENT}
    for name, setting in INNOCENT:
        scene.view.doing(f"poise config set {name} {setting}")
        await scene.poise("config", "set", name, setting, "--reason", "asked for by sales")

    async def live() -> bool:
        found = [await _newest(scene, name) for name in versions]
        return all(
            one and one.n > (versions[name].n if versions[name] else 0) and one.state is RolloutState.LIVE  # type: ignore[union-attr]
            for name, one in zip(versions, found, strict=True)
        )

    await scene.until("the innocent settings are live", live, INNOCENT_MOST_S, 0.3)


async def _newest(scene: Scene, service: str) -> Rollout | None:
    path = f"projects/{PROJECT}/environments/production/services/{service}/rollouts"
    items = (await scene.get(path, Page[Rollout], limit=500)).items
    return items[-1] if items else None


async def _force(scene: Scene, facts: dict[str, Any]) -> float:
    """The bad setting, straight to all users by a person's word; when it was asked for."""
    service, setting = GUILTY
    before = await _newest(scene, service)
    assert before is not None
    scene.view.doing(f"poise config set {service} {setting}, forced")
    await scene.poise("gate", "override", service, "--reason", FORCED)
    changed_at = scene.users.now()
    await scene.poise("config", "set", service, setting, "--reason", "the new price list")

    async def made() -> Rollout | None:
        newest = await _newest(scene, service)
        return newest if newest and newest.n > before.n else None

    rollout = await scene.until("its rollout begins", made, 20.0)
    await scene.poise("promote", service, "--reason", FORCED)
    facts["forced"] = {"service": service, "setting": setting, "rollout": rollout.n, "reason": FORCED}
    return changed_at


async def _incident(scene: Scene, facts: dict[str, Any], changed_at: float) -> IncidentView:
    path = f"projects/{PROJECT}/alerts"

    async def firing() -> Alert | None:
        rows = (await scene.get(path, Page[Alert], firing="true")).items
        return rows[0] if rows else None

    await scene.until("an alert fires", firing, ALERT_MOST_S)
    facts["alert_after_s"] = round(scene.users.now() - changed_at, 2)

    async def opened() -> Incident | None:
        rows = (await scene.get(f"projects/{PROJECT}/incidents", Page[Incident], state="open")).items
        return rows[0] if rows else None

    incident = await scene.until("an incident opens", opened, ALERT_MOST_S)
    facts["incident"] = incident.n
    return await _view(scene, incident.n)


async def _view(scene: Scene, number: int) -> IncidentView:
    return await scene.get(f"projects/{PROJECT}/incidents/{number}", IncidentView)


async def _answer(scene: Scene, facts: dict[str, Any], changed_at: float, number: int) -> None:
    """The phone rings; the one on call opens the link and presses the button."""

    async def ringing() -> bool:
        return bool(scene.phone.calls)

    await scene.until(f"{ON_CALL}'s phone rings", ringing, ALERT_MOST_S)
    call = scene.phone.calls[0]
    facts["paged_after_s"] = round(call.at_s - changed_at, 2)
    status = await scene.phone.press_acknowledge(call)

    async def acknowledged() -> Incident | None:
        found = (await _view(scene, number)).incident
        return found if found.acknowledged_at else None

    found = await scene.until("the incident is acknowledged", acknowledged, 20.0)
    facts["acked"] = {"by": found.acknowledged_by, "status": status, "pages": len(scene.phone.calls)}
    must(found.acknowledged_by == ON_CALL, f"acknowledged by {found.acknowledged_by}")


async def _rank(scene: Scene, number: int) -> int:
    """Where the bad setting stands among the suspects; 0: not among them."""

    async def ranked() -> int:
        diagnosis = (await _view(scene, number)).diagnosis
        suspects = diagnosis.suspects if diagnosis else ()
        return next(
            (
                place
                for place, one in enumerate(suspects, 1)
                if one.kind is SuspectKind.CONFIG and f"/{GUILTY[0]}/" in one.subject
            ),
            0,
        )

    return await scene.until("the suspects are ranked", ranked, 30.0)


async def _end(scene: Scene, facts: dict[str, Any], number: int) -> None:
    """Back to the setting before; the alerts end; the incident is resolved."""
    service = GUILTY[0]
    incident = str(number)
    scene.view.doing(f"poise config rollback {service}")
    began = time.monotonic()
    await scene.poise("config", "rollback", service, "--reason", "EURO is no currency")
    guilty = facts["forced"]["rollout"]

    async def undone() -> bool:
        newest = await _newest(scene, service)
        return bool(newest and newest.n > guilty and newest.state is RolloutState.LIVE)

    await scene.until("the setting before is live", undone, END_MOST_S)
    await scene.poise("incident", "mitigate", incident, "the setting is rolled back")

    async def clear() -> bool:
        return (await _view(scene, number)).incident.cleared_at is not None

    await scene.until("no alert of it fires any more", clear, END_MOST_S)
    await scene.poise("incident", "resolve", incident, "payments charges again")

    async def resolved() -> bool:
        return (await _view(scene, number)).incident.resolved_at is not None

    facts["resolved"] = await scene.until("the incident is resolved", resolved, 20.0)
    facts["resolved_after_rollback_s"] = round(time.monotonic() - began, 2)


async def review(scene: Scene, facts: dict[str, Any]) -> None:
    """A post-mortem from the record: each sentence with its evidence, and an action with an owner."""
    number = str((await scene.get(f"projects/{PROJECT}/incidents", Page[Incident])).items[0].n)

    async def drafted() -> Review | None:
        rows = (await scene.get(f"projects/{PROJECT}/reviews", Page[Review])).items
        return next((one for one in rows if one.incident.endswith(f"/{int(number):06d}")), None)

    await scene.until("the post-mortem is drafted", drafted, 20.0)
    due = (datetime.now(UTC) + timedelta(days=14)).date().isoformat()
    await scene.poise(
        "postmortem", "action", "add", number, "payments refuses a currency it does not know at start",
        "--kind", "prevent", "--owner", ON_CALL, "--due", due,
        "--verify", "a start with CURRENCY=EURO fails",
    )  # fmt: skip
    path = scene.writes_to / f"postmortem-{number}.md"
    await scene.poise("postmortem", "export", number, "--to", str(path))
    await scene.poise("postmortem", "publish", number)

    async def published() -> Review | None:
        found = await drafted()
        return found if found and found.published_at and found.actions else None

    found = await scene.until("the post-mortem is published", published, 20.0)
    with_evidence = sum(bool(one.evidence) for one in found.sentences)
    facts["path"] = str(path)
    facts["sentences"] = len(found.sentences)
    facts["sentences_with_evidence"] = with_evidence
    facts["budget_spent_ratio"] = (
        None if found.budget_spent_ratio is None else round(found.budget_spent_ratio, 4)
    )
    facts["failed_requests"] = found.failed_requests
    for name in ("ttd_s", "tta_s", "ttm_s", "ttr_s"):
        value = getattr(found, name)
        facts[name] = None if value is None else round(value, 2)
    facts["actions"] = [f"{one.text} ({one.owner}, until {one.due_at.date()})" for one in found.actions]
    must(path.is_file() and path.stat().st_size > 0, "the post-mortem is no file")
    must(0 < len(found.sentences) == with_evidence, "a sentence has no evidence")
    must(None not in (found.ttd_s, found.tta_s, found.ttr_s), "a time is not known")
    await asyncio.sleep(0)
