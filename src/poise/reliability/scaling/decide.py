"""The scale target, as a pure function: out at once on good data, in slowly and only on the best.

Every doubt holds. In flight bounds the need from below, since a rate counts only what was answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

from msgspec import Struct
from msgspec.structs import replace as _as

from poise.model import event_types
from poise.model.fleet import ScaleTarget, wanted_replicas
from poise.model.policy import DAY_S
from poise.model.record import Decision, Event, Read, Write
from poise.model.service import Scaling, Service
from poise.reliability.scaling.load import (
    ZERO_DOUBT_S,
    Load,
    Reading,
    implausible_zero,
    loads,
    newest_load,
    unbroken,
)
from poise.reliability.scaling.queueing import replicas_for

LOOK_S: Final = 2.0
IDLE_LOOK_S: Final = 60.0
FUTURE_TOLERANCE_S: Final = 5.0
NEED_MAX: Final = 1000  # of replicas; a need is told beyond the maximum, up to here
FLAP: Final = "flap-budget"


class Seen(Struct, frozen=True, kw_only=True):
    """One service: its declaration, the target standing, and its readings, ascending.

    ``stepping``: a rollout is under way. Readings go back ``history_s`` or as far as there are any.
    """

    key: str
    service: Service | None
    before: ScaleTarget | None = None
    readings: tuple[Reading, ...] = ()
    stepping: bool = False
    reads: tuple[Read, ...] = ()


class Assessment(Struct, frozen=True, kw_only=True):
    """What scaling makes of a service now, for people: the target, by which rule, and the numbers.

    ``withheld`` names the rule that keeps it as it is; "" when none does. Needs are None where nothing was
    measured. ``reversals_left`` is what the flap budget still allows today.
    """

    service: str
    replicas: int
    current: int
    min: int
    max: int
    rule: str
    reason: str
    withheld: str = ""
    rate_per_s: float | None = None
    in_flight: float | None = None
    needed_by_rate: int | None = None
    needed_by_in_flight: int | None = None
    reversals_left: int = 0
    read_at: datetime | None = None

    @property
    def needed(self) -> int | None:
        """What the load needs, whatever the bounds."""
        known = [n for n in (self.needed_by_rate, self.needed_by_in_flight) if n is not None]
        return max(known) if known else None


def decide(seen: Seen, now: datetime) -> Decision:
    """The target to write, if it changes, and why."""
    if seen.service is None:
        gone = () if seen.before is None else (Write(kind="ScaleTarget", key=seen.key, body=None),)
        return Decision(reads=seen.reads, writes=gone)
    found = assess(seen, seen.service, now)
    before = seen.before or ScaleTarget(service=seen.key, replicas=found.current)
    target = _target(before, found, now)
    pause_s = IDLE_LOOK_S if seen.service.scaling.service_rate_per_s is None else LOOK_S
    wake_at = now + timedelta(seconds=pause_s)
    if seen.before is not None and _same(before, target):
        return Decision(reads=seen.reads, wake_at=wake_at)
    write = Write(kind="ScaleTarget", key=seen.key, body=target)
    events = tuple(_told(before, target, is_first=seen.before is None))
    return Decision(reads=seen.reads, writes=(write,), events=events, wake_at=wake_at)


def history_s(scaling: Scaling) -> float:
    """How far back the readings are needed."""
    return max(scaling.scale_in_after_s, ZERO_DOUBT_S) + scaling.stale_after_s


def reversals_left(scaling: Scaling, before: ScaleTarget | None, now: datetime) -> int:
    """How often the direction may still turn within 24 hours."""
    return max(0, scaling.reversals_per_day - len(_recent(before, now)))


def assess(seen: Seen, service: Service, now: datetime) -> Assessment:
    """What the readings ask for and what keeps it from being done; changes nothing."""
    current = wanted_replicas(service.replicas, seen.before)
    plain = Assessment(
        service=seen.key, replicas=current, current=current,
        min=service.replicas.min, max=service.replicas.max, rule="steady", reason="",
        reversals_left=reversals_left(service.scaling, seen.before, now),
    )  # fmt: skip
    if service.scaling.service_rate_per_s is None:
        why = "no service rate is declared (scaling.serviceRate), so it stays at its minimum"
        least = service.replicas.min
        return _as(plain, rule="not-declared", reason=why, replicas=least, current=least)
    blind = _blind(seen, service.scaling, now)
    if blind is not None:
        rule, why = blind
        return _as(plain, rule=rule, withheld=rule, reason=f"{why}, so {current} replicas stay")
    run = unbroken(seen.readings, service.scaling.stale_after_s)
    return _by_load(seen, service, plain, run, now)


def _by_load(
    seen: Seen, service: Service, plain: Assessment, run: Sequence[Reading], now: datetime
) -> Assessment:
    """The need of now, and of the time that going in has to look back upon."""
    scaling, current = service.scaling, plain.current
    load = newest_load(run)
    measured = _measured(plain, load, scaling)
    needed = measured.needed
    if needed is None:
        why = f"Envoy's counters began anew, so {current} replicas stay"
        return _as(measured, rule="new-epoch", withheld="new-epoch", reason=why)
    wanted = _clamp(needed, service)
    if wanted > current:
        return _as(measured, rule=_by(measured), reason=_why(measured, scaling), replicas=wanted)
    fault = _fault(seen, scaling, run, load, now) or _flap(seen, scaling, now)
    if wanted == current:
        return _as(measured, rule="steady", reason=_why(measured, scaling), withheld=_standing(seen, fault))
    if fault is not None:
        return _as(measured, rule=fault[0], withheld=fault[0], reason=f"{fault[1]}, so it does not go in")
    return _in(seen, service, measured, list(loads(run)), now)


def _in(seen: Seen, service: Service, measured: Assessment, course: list[Load], now: datetime) -> Assessment:
    """Fewer replicas, once that has been enough for long enough, and at most half of them at once."""
    scaling, current = service.scaling, measured.current
    since = now.timestamp() - scaling.scale_in_after_s
    peak = Load(
        at=since,
        rate_per_s=max((load.rate_per_s or 0.0 for load in course if load.at > since), default=None),
        in_flight=max((load.in_flight or 0.0 for load in course if load.at > since), default=None),
    )
    highest = _need(peak, scaling) or current
    changed = seen.before.changed_at if seen.before else None
    wait_s = scaling.scale_in_after_s - (now - changed).total_seconds() if changed else 0.0
    if seen.stepping:
        return _as(measured, rule="rollout", reason="a rollout is under way, so it does not go in")
    if _clamp(highest, service) >= current or wait_s > 0 or course[0].at > since:
        why = f"fewer would do, but not yet for {scaling.scale_in_after_s:g} s, so {current} replicas stay"
        return _as(measured, rule="settling", reason=why)
    step = max(_clamp(highest, service), ceil(current / 2))
    why = f"{highest} replicas were enough for {scaling.scale_in_after_s:g} s; {_why(measured, scaling)}"
    return _as(measured, rule="lower-need", reason=why, replicas=step)


# -- doubts -------------------------------------------------------------------------------------------


def _blind(seen: Seen, scaling: Scaling, now: datetime) -> tuple[str, str] | None:
    """Why nothing is known of the load now: (rule, words)."""
    if not seen.readings:
        return "no-data", "nothing was measured yet"
    age_s = now.timestamp() - seen.readings[-1].at
    if age_s > scaling.stale_after_s:
        return "stale", f"the newest counters are older than {scaling.stale_after_s:g} s"
    if age_s < -FUTURE_TOLERANCE_S:
        return "future", "the newest counters are from the future"
    newest = seen.readings[-1]
    if newest.total is None and newest.in_flight is None:
        return "no-data", "the newest reading has no counters of it"
    return None


def _fault(
    seen: Seen, scaling: Scaling, run: Sequence[Reading], load: Load, now: datetime
) -> tuple[str, str] | None:
    """Why going in cannot rely on the data: (rule, words)."""
    if load.rate_per_s is None or load.in_flight is None:
        return "partial", "only a part of its counters was read"
    since = now.timestamp() - scaling.scale_in_after_s
    missing = any(one.total is None or one.in_flight is None for one in run if one.at > since)
    if missing or (run[0].at > since and len(run) < len(seen.readings)):
        return "gap", f"the last {scaling.scale_in_after_s:g} s were not measured throughout"
    doubt = implausible_zero(run)
    return ("implausible-zero", doubt) if doubt else None


def _flap(seen: Seen, scaling: Scaling, now: datetime) -> tuple[str, str] | None:
    """The last reversal of the day is kept for the way back out, so a turn inwards needs two."""
    turns = seen.before is not None and seen.before.direction > 0
    if turns and reversals_left(scaling, seen.before, now) < 2:
        used = len(_recent(seen.before, now))
        return FLAP, f"it turned {used} times in 24 h of {scaling.reversals_per_day}, the last is kept"
    return None


def _standing(seen: Seen, fault: tuple[str, str] | None) -> str:
    """A doubt told before stands until it is gone, though nothing is withheld by it at this instant."""
    told = seen.before.withheld if seen.before else ""
    return fault[0] if fault is not None and told and _episode(fault[0]) == _episode(told) else ""


def _episode(withheld: str) -> str:
    return withheld if withheld in ("", FLAP) else "data"


# -- needs --------------------------------------------------------------------------------------------


def _measured(plain: Assessment, load: Load, scaling: Scaling) -> Assessment:
    return _as(
        plain,
        rate_per_s=load.rate_per_s,
        in_flight=load.in_flight,
        needed_by_rate=_by_rate(load, scaling),
        needed_by_in_flight=_by_in_flight(load, scaling),
        read_at=datetime.fromtimestamp(load.at, UTC),
    )


def _need(load: Load, scaling: Scaling) -> int | None:
    known = [n for n in (_by_rate(load, scaling), _by_in_flight(load, scaling)) if n is not None]
    return max(known) if known else None


def _by_rate(load: Load, scaling: Scaling) -> int | None:
    if load.rate_per_s is None or scaling.service_rate_per_s is None:
        return None
    return replicas_for(
        load.rate_per_s * (1 + scaling.headroom_ratio),
        service_rate_per_s=scaling.service_rate_per_s,
        concurrency=scaling.concurrency,
        wait_s=scaling.wait_ms / 1000,
        late_ratio_max=scaling.wait_ratio_max,
        most=NEED_MAX,
    )


def _by_in_flight(load: Load, scaling: Scaling) -> int | None:
    if load.in_flight is None:
        return None
    return max(1, min(NEED_MAX, ceil(load.in_flight * (1 + scaling.headroom_ratio) / scaling.concurrency)))


def _clamp(count: int, service: Service) -> int:
    return wanted_replicas(service.replicas, ScaleTarget(service=service.key, replicas=count))


def _by(measured: Assessment) -> str:
    """The rule that asks for the most."""
    return (
        "offered-rate"
        if (measured.needed_by_rate or 0) >= (measured.needed_by_in_flight or 0)
        else "in-flight"
    )


def _why(measured: Assessment, scaling: Scaling) -> str:
    parts = []
    if measured.rate_per_s is not None:
        parts.append(
            f"{measured.rate_per_s:.4g} requests/s need {measured.needed_by_rate} at "
            f"{scaling.service_rate_per_s:g}/s each (at most {scaling.wait_ratio_max:.3g} of them wait over "
            f"{scaling.wait_ms:g} ms, {scaling.headroom_ratio * 100:.3g} % headroom)"
        )
    if measured.in_flight is not None:
        parts.append(f"{measured.in_flight:.3g} in flight need {measured.needed_by_in_flight}")
    return ", ".join(parts)


# -- what is written ----------------------------------------------------------------------------------


def _recent(before: ScaleTarget | None, now: datetime) -> tuple[datetime, ...]:
    turns = before.reversals if before else ()
    return tuple(at for at in turns if now - at < timedelta(seconds=DAY_S))


def _target(before: ScaleTarget, found: Assessment, now: datetime) -> ScaleTarget:
    """The next target. What a person's new bounds move is no change of direction."""
    target = _as(
        before, replicas=found.replicas, rule=found.rule, reason=found.reason,
        numbers=_numbers(found), withheld=found.withheld,
    )  # fmt: skip
    if found.replicas == before.replicas:
        return target
    move = (found.replicas > found.current) - (found.replicas < found.current)
    if not move and found.rule != "not-declared":
        target = _as(target, rule="bounds", reason=f"{found.min} to {found.max} are declared")
    turns = _recent(before, now)
    if move and before.direction and move != before.direction:
        turns = (*turns, now)
    return _as(target, changed_at=now, reversals=turns, direction=move or before.direction)


def _same(before: ScaleTarget, target: ScaleTarget) -> bool:
    """Whether nothing that lasts differs: numbers alone are not worth a write."""
    return (before.replicas, before.withheld) == (target.replicas, target.withheld)


def _numbers(found: Assessment) -> dict[str, float]:
    named = {
        "rate_per_s": found.rate_per_s,
        "in_flight": found.in_flight,
        "needed_by_rate": found.needed_by_rate,
        "needed_by_in_flight": found.needed_by_in_flight,
        "min": found.min,
        "max": found.max,
        "reversals_left": found.reversals_left,
    }
    return {name: round(float(value), 3) for name, value in named.items() if value is not None}


def _told(before: ScaleTarget, target: ScaleTarget, is_first: bool) -> Iterator[Event]:
    """A change always; what is withheld once per episode, and not before anything was ever measured."""
    data: dict[str, object] = {"rule": target.rule, "from": before.replicas, "to": target.replicas}
    data |= target.numbers
    if target.replicas != before.replicas:
        text = f"{target.service} goes from {before.replicas} to {target.replicas} replicas: {target.reason}"
        yield Event(type=event_types.SCALE_CHANGED, subject=target.service, summary=text, data=data)
    elif target.withheld and not is_first and _episode(target.withheld) != _episode(before.withheld):
        text = f"{target.service} is not scaled: {target.reason}"
        yield Event(type=event_types.SCALE_WITHHELD, subject=target.service, summary=text, data=data)
