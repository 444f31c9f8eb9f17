"""Routes of on-call: who is on call, the calendar, overrides, and a page as a test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from litestar import Request, delete, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec.structs import replace

from poise.api.idempotency import create_once
from poise.api.oncall_views import Calendar, MakeOnCallOverride, OnCallNow, SendTest, Tested
from poise.api.params import Cursor, Limit, Number, Part
from poise.api.parts import Parts
from poise.api.read import page_of, parts_of
from poise.api.views import Created, Page
from poise.model import event_types, roster
from poise.model.errors import Invalid, NotFound, PoiseError
from poise.model.oncall import OnCallOverride, OnCallSchedule
from poise.model.record import Decision, Event, Write
from poise.ports.notifier import Message
from poise.ports.store import Transaction

SHIFTS_SHOWN: Final = 1000
STRETCH_MAX: Final = timedelta(days=366)
STRETCH: Final = timedelta(days=28)
OVERRIDE_MAX: Final = timedelta(days=366)
OVERRIDES_SEEN: Final = 500
YEARS: Final = range(2000, 2200)
_ONCALL: Final = "/api/v1/projects/{project:str}/oncall"
_SCHEDULE: Final = _ONCALL + "/{name:str}"

Asked = Request[Any, Any, Any]


@get(_ONCALL, opt={"permission": "viewer"})
async def list_on_call(
    request: Asked, project: Part, cursor: Cursor = "", limit: Limit = 100
) -> Page[OnCallNow]:
    """Who is on call now, schedule by schedule."""
    parts = parts_of(request)
    schedules = await page_of(parts, OnCallSchedule, f"{project}/", cursor, limit)
    items = [await _now(parts, schedule) for schedule in schedules.items]
    return Page(items=items, next=schedules.next)


@get(_SCHEDULE + "/shifts", opt={"permission": "viewer"})
async def list_shifts(
    request: Asked,
    project: Part,
    name: Part,
    start: Annotated[str, QueryParameter(name="from", max_length=40)] = "",
    end: Annotated[str, QueryParameter(name="to", max_length=40)] = "",
) -> Calendar:
    """The calendar of a schedule from ``from`` (now) to ``to`` (four weeks on, at most a year)."""
    parts = parts_of(request)
    schedule = await _schedule(parts, project, name)
    starts_at = _instant(start, "from") if start else parts.clock.now()
    ends_at = _instant(end, "to") if end else starts_at + STRETCH
    if not starts_at < ends_at <= starts_at + STRETCH_MAX:
        raise Invalid(
            "POISE-O422", "'to' must be after 'from' and at most 366 days on", where=f"{starts_at} {ends_at}",
            mend="Use e.g. ?from=2026-01-05T00:00:00Z&to=2026-02-05T00:00:00Z",
        )  # fmt: skip
    return await _calendar(parts, schedule, starts_at, ends_at)


@get(_SCHEDULE + "/overrides", opt={"permission": "viewer"})
async def list_oncall_overrides(
    request: Asked, project: Part, name: Part, cursor: Cursor = "", limit: Limit = 100
) -> Page[OnCallOverride]:
    """Every override of a schedule, by number, cancelled ones included."""
    return await page_of(parts_of(request), OnCallOverride, f"{project}/{name}/", cursor, limit)


@post(_SCHEDULE + "/overrides", opt={"permission": "developer", "once": True})
async def override_on_call(
    request: Asked, project: Part, name: Part, data: JSONBody[MakeOnCallOverride]
) -> Created:
    """Put another person of the schedule on call for a time."""
    parts, by = parts_of(request), request.scope["user"].name
    schedule = await _schedule(parts, project, name)
    _check(schedule, data)  # before a key is spent on it

    async def make() -> tuple[Decision, Created]:
        return await override_decision(parts, schedule, data, by)

    return await create_once(request, parts, data, Created, make)


@delete(_SCHEDULE + "/overrides/{n:int}", opt={"permission": "developer"}, status_code=200)
async def cancel_override(request: Asked, project: Part, name: Part, n: Number) -> Created:
    """Cancel an override; it stays on record."""
    return await cancel(parts_of(request), project, name, n, request.scope["user"].name)


@post(_SCHEDULE + "/test", opt={"permission": "developer", "once": True}, status_code=200)
async def send_test(request: Asked, project: Part, name: Part, data: JSONBody[SendTest]) -> Page[Tested]:
    """Page every contact of a person now, marked as a test; asked again, it tells what came of it."""
    parts = parts_of(request)
    schedule = await _schedule(parts, project, name)

    async def make() -> tuple[Decision, Page[Tested]]:
        return Decision(), await _test(parts, schedule, data, request.scope["user"].name)

    return await create_once(request, parts, data, Page[Tested], make)


async def _test(parts: Parts, schedule: OnCallSchedule, data: SendTest, by: str) -> Page[Tested]:
    name, now = schedule.name, parts.clock.now()
    wanted = data.person or roster.on_call(schedule, await _overrides(parts, schedule), now)
    person = roster.person_of([schedule], wanted or "")
    if person is None:
        who = f"no person {data.person} in {name}" if data.person else f"nobody is on call in {name} now"
        raise NotFound("POISE-O404", who, mend=f"Run: poise oncall list {name}")
    message = Message(
        id=f"test/{schedule.key}/{person.name}/{now:%Y%m%dT%H%M%S%f}",
        title=f"[TEST] Poise reaches {person.name}",
        detail=f"{by} tests how {person.name} is paged. Nothing is wrong.",
        severity="test",
        link=f"{parts.url}/",
        kind="test",
    )
    items = []
    for contact in person.contacts:
        outcome = Tested(person=person.name, kind=contact.kind, address=contact.address)
        try:
            receipt = await parts.notifiers[contact.kind].send(contact, message)
            items.append(replace(outcome, receipt=receipt))
        except (PoiseError, OSError) as error:
            items.append(replace(outcome, problem=str(error)))
    return Page(items=items)


async def override_decision(
    parts: Parts, schedule: OnCallSchedule, data: MakeOnCallOverride, by: str
) -> tuple[Decision, Created]:
    """The next override of a schedule; Invalid for a stranger or an impossible time."""
    _check(schedule, data)
    known, ref = await parts.store.scan(OnCallOverride, f"{schedule.key}/", last=True, limit=1)
    made = OnCallOverride(
        project=schedule.project, schedule=schedule.name, n=known[0].n + 1 if known else 1,
        person=data.person, starts_at=data.starts_at.astimezone(UTC), ends_at=data.ends_at.astimezone(UTC),
        by=by, reason=data.reason, at=parts.clock.now(),
    )  # fmt: skip
    said = (
        f"{made.by} put {made.person} on call in {schedule.name} from {made.starts_at:%Y-%m-%d %H:%M} to "
        f"{made.ends_at:%Y-%m-%d %H:%M} UTC: {made.reason}"
    )
    decision = Decision(reads=(ref,), writes=(_write(made),), events=(_event(made, made.by, said),))
    return decision, Created(key=made.key, sentence=said)


async def cancel(parts: Parts, project: str, name: str, n: int, asker: str) -> Created:
    """Cancel an override, which stays on record; being told twice is harmless."""
    known, ref = await parts.store.get(OnCallOverride, f"{project}/{name}/{n:06d}")
    if known is None:
        raise NotFound("POISE-O404", f"no override {n} of {name}", mend="Run: poise oncall show")
    said = f"{asker} cancelled override {n} of {name}"
    if not known.cancelled:
        gone = replace(known, cancelled=True)
        await parts.store.commit(
            Transaction(
                at=parts.clock.now(), reads=[ref], writes=[_write(gone)], events=[_event(gone, asker, said)]
            )
        )
    return Created(key=known.key, sentence=said)


async def schedule_or_raise(parts: Parts, project: str, name: str) -> OnCallSchedule:
    """The declared schedule, or an error that says how to declare one."""
    return await _schedule(parts, project, name)


# -- reading ------------------------------------------------------------------------------------------


async def _schedule(parts: Parts, project: str, name: str) -> OnCallSchedule:
    found, _ = await parts.store.get(OnCallSchedule, f"{project}/{name}")
    if found is None:
        mend = "Declare a document of kind OnCallSchedule in poise.yaml and run: poise apply"
        raise NotFound("POISE-O404", f"no on-call schedule {name}", where=project, mend=mend)
    return found


async def _overrides(parts: Parts, schedule: OnCallSchedule) -> list[OnCallOverride]:
    found, _ = await parts.store.scan(OnCallOverride, f"{schedule.key}/", last=True, limit=OVERRIDES_SEEN)
    return found


async def _now(parts: Parts, schedule: OnCallSchedule) -> OnCallNow:
    now = parts.clock.now()
    coming = roster.shifts(schedule, await _overrides(parts, schedule), now, now + STRETCH)
    covers = bool(coming) and coming[0].starts_at == now
    after = coming[1:] if covers else coming
    person = roster.person_of([schedule], coming[0].person) if covers else None
    return OnCallNow(
        schedule=schedule.name,
        zone=schedule.zone,
        at=now,
        person=coming[0].person if covers else None,
        override=covers and coming[0].override,
        until=(coming[0].ends_at if covers else None) if after or not covers else None,
        next_person=after[0].person if after else None,
        contacts=tuple(f"{one.kind}:{one.address}" for one in person.contacts) if person else (),
    )


async def _calendar(parts: Parts, schedule: OnCallSchedule, start: datetime, end: datetime) -> Calendar:
    overrides = await _overrides(parts, schedule)
    found = roster.shifts(schedule, overrides, start, end)
    shown = found[:SHIFTS_SHOWN]
    until = found[SHIFTS_SHOWN].starts_at if len(found) > SHIFTS_SHOWN else end
    edges = [start, *(at for shift in shown for at in (shift.starts_at, shift.ends_at)), until]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return Calendar(
        schedule=schedule.name,
        zone=schedule.zone,
        starts_at=start,
        ends_at=until,
        shifts=shown,
        holes=tuple(roster.Hole(starts_at=at, ends_at=to) for at, to in pairs if at < to),
        overrides=tuple(one for one in overrides if one.starts_at < until and one.ends_at > start),
        next=until if until < end else None,
    )


def _check(schedule: OnCallSchedule, data: MakeOnCallOverride) -> None:
    if roster.person_of([schedule], data.person) is None:
        names = ", ".join(person.name for person in schedule.people)
        what = f"{data.person} is not among the people of {schedule.name}"
        raise Invalid("POISE-O422", what, where=schedule.key, mend=f"Name one of: {names}.")
    sane = data.starts_at.year in YEARS and data.ends_at.year in YEARS
    if not (sane and data.starts_at < data.ends_at <= data.starts_at + OVERRIDE_MAX):
        what = "an override must end after it starts, at most 366 days on"
        raise Invalid("POISE-O422", what, where=schedule.key, mend="Swap or change the two instants.")


def _instant(text: str, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None and at.year in YEARS:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    mend = "Use e.g. 2026-01-05T00:00:00Z"
    raise Invalid("POISE-O422", f"'{name}' is not an instant with its offset", where=text[:40], mend=mend)


def _write(override: OnCallOverride) -> Write:
    return Write(kind="OnCallOverride", key=override.key, body=override)


def _event(override: OnCallOverride, by: str, said: str) -> Event:
    facts = {"person": override.person, "cancelled": override.cancelled}
    subject = f"{override.project}/{override.schedule}"
    return Event(type=event_types.ONCALL_OVERRIDDEN, subject=subject, summary=said, actor=by, data=facts)


ROUTES = [list_on_call, list_shifts, list_oncall_overrides, override_on_call, cancel_override, send_test]
