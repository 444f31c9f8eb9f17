"""On-call: show, list, calendar, override, cancel, test, secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import quote
from zoneinfo import ZoneInfo

from cyclopts import App, Parameter

from poise.api.oncall_views import Calendar, OnCallNow, Tested
from poise.api.views import Created, Page
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, project_of
from poise.model.errors import Invalid, NotFound, Unreachable
from poise.model.oncall import OnCallOverride

oncall = App(name="oncall", help="Who is on call, and who else shall be.")

Schedule = Annotated[str, Parameter(help="Which schedule; the only one may be left out.")]


@oncall.command
def show(*, common: Common = COMMON) -> None:
    """Who is on call now, in every schedule."""
    found = _all_now(common)
    if common.json:
        return output.data(found)
    rows = [
        (one.schedule, one.person or "NOBODY", _local(one.until, one.zone), one.next_person or "–",
         "override" if one.override else "rotation")
        for one in found
    ]  # fmt: skip
    if not rows:
        output.talk(common, "No on-call schedule is declared: add a document of kind OnCallSchedule.")
    return output.table(("schedule", "on call", "until", "then", "by"), rows)


@oncall.command(name="list")
def list_(schedule: Schedule = "", *, common: Common = COMMON) -> None:
    """Overrides of a schedule, cancelled ones included."""
    with Client(common) as client:
        found = client.get(
            _path(client, common, schedule) + "/overrides", Page[OnCallOverride], limit=500
        ).items
    if common.json:
        return output.data(found)
    rows = [
        (str(one.n), one.person, _local(one.starts_at, "UTC"), _local(one.ends_at, "UTC"), one.by, one.reason,
         "cancelled" if one.cancelled else "")
        for one in found
    ]  # fmt: skip
    return output.table(("n", "person", "from (UTC)", "to (UTC)", "by", "reason", ""), rows)


@oncall.command
def calendar(
    schedule: Schedule = "",
    *,
    days: Annotated[int, Parameter(help="How many days from now, at most 366.")] = 28,
    common: Common = COMMON,
) -> None:
    """The shifts to come, in the schedule's own zone; holes are shown."""
    start = datetime.now(UTC).replace(microsecond=0)
    end = start + timedelta(days=max(1, min(days, 366)))
    with Client(common) as client:
        found = client.get(
            _path(client, common, schedule) + "/shifts", Calendar, **{"from": _iso(start), "to": _iso(end)}
        )
    if common.json:
        return output.data(found)
    rows = [
        *(
            (one.starts_at, one.ends_at, one.person, "override" if one.override else "")
            for one in found.shifts
        ),
        *((one.starts_at, one.ends_at, "NOBODY", "hole") for one in found.holes),
    ]
    shown = [
        (_local(at, found.zone), _local(to, found.zone), who, note) for at, to, who, note in sorted(rows)
    ]
    return output.table((f"from ({found.zone})", "to", "on call", ""), shown)


@oncall.command
def override(
    person: Annotated[str, Parameter(help="Who shall be on call.")],
    schedule: Schedule = "",
    *,
    reason: Annotated[str, Parameter(help="Why; kept in the journal.")],
    start: Annotated[
        str, Parameter(name="--from", help="Instant with offset, as 2026-01-05T09:00+01:00; now.")
    ] = "",
    hours: Annotated[float, Parameter(help="For how long.")] = 8.0,
    common: Common = COMMON,
) -> None:
    """Put another person on call for a time."""
    starts_at = _instant(start) if start else datetime.now(UTC)
    body = {
        "person": person,
        "reason": reason,
        "starts_at": _iso(starts_at),
        "ends_at": _iso(starts_at + timedelta(hours=hours)),
    }
    with Client(common) as client:
        done = client.post(_path(client, common, schedule) + "/overrides", body, Created)
    output.data(done) if common.json else output.say(done.sentence)


@oncall.command
def cancel(
    n: Annotated[int, Parameter(help="The override's number (poise oncall list).")],
    schedule: Schedule = "",
    *,
    common: Common = COMMON,
) -> None:
    """Cancel an override; it stays on record."""
    with Client(common) as client:
        done = client.delete(f"{_path(client, common, schedule)}/overrides/{n}", Created)
    output.data(done) if common.json else output.say(done.sentence)


@oncall.command
def test(
    schedule: Schedule = "",
    *,
    person: Annotated[str | None, Parameter(help="Whom; who is on call now by default.")] = None,
    common: Common = COMMON,
) -> None:
    """Page every contact of a person now, marked as a test."""
    with Client(common) as client:
        body = {} if person is None else {"person": person}
        found = client.post(_path(client, common, schedule) + "/test", body, Page[Tested]).items
    if common.json:
        output.data(found)
    else:
        rows = [(one.person, one.kind, one.address, one.problem or one.receipt) for one in found]
        output.table(("person", "by", "address", "outcome"), rows)
    if failed := [one for one in found if one.problem]:
        raise Unreachable(
            "POISE-O703", f"{len(failed)} of {len(found)} contacts were not reached",
            where=failed[0].address, why=failed[0].problem, mend="Mend it in poise.yaml; run: poise apply",
        )  # fmt: skip


@oncall.command
def secret(*, common: Common = COMMON) -> None:
    """The secret with which receivers verify our webhooks (Standard Webhooks)."""
    from poise.adapters.notify.webhook import shown_secret, webhook_secret

    path = common.folder / "signing.key"
    if not path.exists():
        raise NotFound("POISE-O405", "this machine has no signing key", where=str(path), mend="Run: poise up")
    shown = shown_secret(webhook_secret(path.read_bytes()))
    output.data({"secret": shown}) if common.json else output.say(shown)


def _all_now(common: Common) -> list[OnCallNow]:
    with Client(common) as client:
        return client.get(_base(common), Page[OnCallNow], limit=500).items


def _base(common: Common) -> str:
    return f"/api/v1/projects/{project_of(common)}/oncall"


def _path(client: Client, common: Common, schedule: str) -> str:
    """The schedule meant: as named, else the only one."""
    if schedule:
        return f"{_base(common)}/{quote(schedule, safe='')}"
    names = [one.schedule for one in client.get(_base(common), Page[OnCallNow], limit=500).items]
    if len(names) == 1:
        return f"{_base(common)}/{names[0]}"
    if not names:
        raise NotFound(
            "POISE-O404", "no on-call schedule is declared",
            mend="Add a document of kind OnCallSchedule to poise.yaml; run: poise apply",
        )  # fmt: skip
    raise Invalid(
        "POISE-O423", "which schedule?", why=f"There are {', '.join(names)}.", mend=f"Name one: {names[0]}"
    )


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _local(at: datetime | None, zone: str) -> str:
    return "–" if at is None else f"{at.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Invalid(
            "POISE-O422",
            f"'{text}' is not an instant with its offset",
            mend="Use e.g. --from 2026-01-05T09:00Z",
        )
    return at
