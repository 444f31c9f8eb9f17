"""``poise deploy --plan``: what a rollout would do now, and what holds it."""

from __future__ import annotations

from poise.cli import output
from poise.cli.client import Client
from poise.cli.observe import service_path
from poise.cli.place import Common, service_key
from poise.delivery.rollout.preview import Preview, Step
from poise.spec.durations import format_duration


def show(service: str, release: int | None, common: Common) -> None:
    """Ask and print; nothing is ordered."""
    with Client(common) as client:
        path = service_path(service_key(common, service)) + "/preview"
        found = client.get(path, Preview, release=release or 0)
    if common.json:
        return output.data(found)
    verdict = found.verdict
    output.say(f"{found.sentence}.")
    output.say(f"  {found.digest}: {found.summary}")
    for reason in verdict.reasons:
        output.say(f"  {reason.rule}: {reason.text}")
    if verdict.until is not None:
        output.say(f"  until {verdict.until:%Y-%m-%d %H:%M} UTC")
    for note in found.notes:
        output.say(f"  note: {note}")
    output.say(f"Strategy {found.strategy}, level {verdict.level}; each step asks the gate again:")
    return output.table(("users", "replicas", "stays", "goes on"), map(_row, found.steps))


def _row(step: Step) -> tuple[str, str, str, str]:
    stays = format_duration(step.hold_s) if step.hold_s else "–"
    on = "once it is live" if step.weight_percent == 100 else "on evidence" if step.judged else "when ready"
    if step.asks:
        on = f"after poise promote; {on}"
    return f"{step.weight_percent} %", str(step.replicas), stays, on
