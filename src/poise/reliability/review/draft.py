"""The draft: facts in, sentences with their evidence out; and their Markdown. Pure text.

What people and other systems wrote (notes, commit messages, alerts) is data: it is flattened to one line, cut
and escaped, so that it can be neither Markdown nor HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from poise.model import event_types
from poise.model.incident import Diagnosis, Incident, SuspectKind
from poise.model.record import Recorded
from poise.model.review import Section, Sentence
from poise.model.spend import SpendLedger

TEXT_MAX: Final = 400
TIMELINE_MAX: Final = 200
SUSPECTS_TOLD: Final = 3
EMPTY: Final = "Nothing is on record."
PROMPTS: Final = (
    ("What went well", "What made this shorter or smaller than it could have been?"),
    ("What went wrong", "What made it longer, larger or harder to see?"),
    ("Where we were lucky", "What would have made it worse?"),
    ("Actions", "What will be done, by whom, until when, and how will one know that it worked?"),
)
_RESPONSES: Final = (
    event_types.PAGE_ASKED,
    event_types.PAGE_SENT,
    event_types.PAGE_FAILED,
    event_types.PAGE_NOBODY,
    event_types.ESCALATED,
    event_types.INCIDENT_ACKNOWLEDGED,
    event_types.INCIDENT_NOTED,
    event_types.INCIDENT_RATED,
    event_types.INCIDENT_MERGED,
    event_types.INCIDENT_REOPENED,
    event_types.HEAL_ORDERED,
    event_types.HEAL_WITHHELD,
    event_types.ROLLBACK_REQUESTED,
    event_types.ROLLOUT_ROLLING_BACK,
    event_types.SERVICE_ROLLED_BACK,
    event_types.SCALE_CHANGED,
)
_ENDINGS: Final = (event_types.INCIDENT_MITIGATED, event_types.INCIDENT_RESOLVED)
_MARKUP: Final = re.compile(r"([\\`*_\[\]~|]|^[#+\-=]|(?<=^\d)[.)]|(?<=^\d\d)[.)])")


class Impact(Struct, frozen=True, kw_only=True):
    """What one objective's users lost between onset and end: bad among all events.

    ``allowed`` is the period's budget in events; None when no budget was computed.
    """

    objective: str
    bad: float
    total: float
    allowed: float | None = None

    @property
    def spent_ratio(self) -> float | None:
        """The share of the period's budget that it cost."""
        return None if self.allowed is None or self.allowed <= 0 else self.bad / self.allowed


class Facts(Struct, frozen=True, kw_only=True):
    """What a draft is made from. ``events`` are those of the incident and its services, ascending."""

    incident: Incident
    diagnosis: Diagnosis | None = None
    impacts: tuple[Impact, ...] = ()
    ledgers: tuple[SpendLedger, ...] = ()
    events: tuple[Recorded, ...] = ()


def worst(impacts: Iterable[Impact]) -> Impact | None:
    """The objective that lost the largest share of its budget; without budgets, the most events."""
    return max(impacts, key=lambda one: (one.spent_ratio or 0.0, one.bad, one.objective), default=None)


def sentences(facts: Facts) -> tuple[Sentence, ...]:
    """Every sentence of the draft, in the order of its sections. Each names its evidence."""
    made = [
        *_summary(facts),
        *_impact(facts),
        *_trigger(facts),
        *_causes(facts),
        *_detection(facts),
        *_response(facts),
        *_resolution(facts),
        *_budget(facts),
        *_timeline(facts),
    ]
    assert all(one.evidence for one in made), "a sentence without evidence"
    return tuple(made)


def times_s(incident: Incident) -> tuple[float | None, float | None, float | None, float | None]:
    """Seconds from the onset: to detect, to acknowledge, to mitigate, to resolve."""

    def since(at: datetime | None) -> float | None:
        return None if at is None else max(0.0, (at - incident.onset_at).total_seconds())

    mitigated = incident.mitigated_at or incident.cleared_at or incident.resolved_at
    return (
        since(incident.opened_at),
        since(incident.acknowledged_at),
        since(mitigated),
        since(incident.resolved_at),
    )


# -- Markdown -------------------------------------------------------------------------------------


def markdown(title: str, made: Sequence[Sentence]) -> str:
    """The draft as Markdown: headings, prompts, and the sentences with their evidence as notes."""
    notes: dict[str, int] = {}
    lines = [f"# {plain(title)}", ""]
    for section in Section:
        lines += [f"## {section.value.capitalize()}", ""]
        mine = [one for one in made if one.section is section]
        lines += [_bullet(one, notes) for one in mine] or [f"_{EMPTY}_"]
        lines.append("")
    for heading, prompt in PROMPTS:
        lines += [f"## {heading}", "", f"_{prompt}_", ""]
    lines += [f"[^{n}]: `{_code(place)}`" for place, n in notes.items()]
    return "\n".join(lines).rstrip() + "\n"


def plain(text: str) -> str:
    """Somebody's words as one bounded line that is neither Markdown nor HTML."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(text.split())
    cut = line if len(line) <= TEXT_MAX else line[: TEXT_MAX - 1] + "…"
    escaped = cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", escaped)


def _bullet(one: Sentence, notes: dict[str, int]) -> str:
    numbers = [notes.setdefault(place, len(notes) + 1) for place in one.evidence]
    return f"- {plain(one.text)}{''.join(f'[^{n}]' for n in numbers)}"


def _code(place: str) -> str:
    return place.replace("`", "")


# -- sections -------------------------------------------------------------------------------------


def _summary(facts: Facts) -> Iterator[Sentence]:
    one = facts.incident
    names = _listed(_name(service) for service in one.services or (one.service,))
    end = one.resolved_at or one.cleared_at
    lasted = (
        f" and ended {end:%H:%M:%S} UTC, {_duration((end - one.onset_at).total_seconds())} later"
        if end
        else ""
    )
    text = (
        f"Incident {one.n} ({one.severity.value}) of {names} in {one.environment} began "
        f"{one.onset_at:%Y-%m-%d %H:%M:%S} UTC{lasted}."
    )  # fmt: skip
    yield _said(Section.SUMMARY, text, _incident(one))
    if facts.diagnosis is not None:
        yield _said(Section.SUMMARY, _full(facts.diagnosis.sentence), f"Diagnosis/{facts.diagnosis.key}")


def _impact(facts: Facts) -> Iterator[Sentence]:
    found = worst(facts.impacts)
    if found is None:
        text = "How many requests failed was not measured: no objective of its services has counts."
        yield _said(Section.IMPACT, text, _incident(facts.incident))
        return
    for one in sorted(facts.impacts, key=lambda one: one.objective):
        where = "/".join(one.objective.split("/")[-2:])
        share = f" ({one.bad / one.total:.2%})" if one.total > 0 else ""
        text = f"{one.bad:,.0f} of {one.total:,.0f} requests{share} were bad by the objective {where}."
        yield _said(Section.IMPACT, text, f"Objective/{one.objective}", _incident(facts.incident))


def _trigger(facts: Facts) -> Iterator[Sentence]:
    found = facts.diagnosis
    if found is None:
        yield _said(
            Section.TRIGGER, "The trigger is not known: nothing was diagnosed.", _incident(facts.incident)
        )
        return
    if not found.explained:
        yield _said(Section.TRIGGER, _full(found.sentence), f"Diagnosis/{found.key}")
        return
    top = found.suspects[0]
    when = f", which took traffic {top.at:%H:%M:%S} UTC" if top.at else ""
    events = sorted({sequence for proof in top.evidence for sequence in proof.events})
    places = (f"Diagnosis/{found.key}", *(f"event/{sequence}" for sequence in events))
    yield _said(
        Section.TRIGGER,
        f"The most likely trigger is {top.summary}{when} ({top.score:.0%} suspected).",
        *places,
    )
    for row in facts.events:
        forced = row.event.type == event_types.ROLLOUT_STEPPED and row.event.data.get("override")
        if row.event.subject == top.subject and forced:
            text = f"That change was forced past the gate: {_full(row.event.summary)}"
            yield _said(Section.TRIGGER, text, f"event/{row.sequence}", *_override_of(facts, row))


def _override_of(facts: Facts, row: Recorded) -> tuple[str, ...]:
    """The override's own event, when it is among the facts."""
    service = "/".join(row.event.subject.split("/")[:3])
    key = f"{service}/{int(row.event.data['override']):06d}"
    found = (other for other in facts.events if other.event.type == event_types.OVERRIDE_CREATED)
    return tuple(f"event/{other.sequence}" for other in found if other.event.subject == key)


def _causes(facts: Facts) -> Iterator[Sentence]:
    found = facts.diagnosis
    if found is None:
        return
    place = f"Diagnosis/{found.key}"
    for one in found.suspects[:SUSPECTS_TOLD]:
        for proof in one.evidence:
            text = _full(f"{one.summary}: {proof.text}")
            yield _said(Section.CAUSES, text, place, *(f"event/{sequence}" for sequence in proof.events))
    changes = [one for one in found.cleared if one.kind is not SuspectKind.DEPENDENCY]
    if changes:
        word = "change was" if len(changes) == 1 else "changes were"
        yield _said(Section.CAUSES, f"{len(changes)} other {word} looked at and cleared.", place)


def _detection(facts: Facts) -> Iterator[Sentence]:
    ttd_s = times_s(facts.incident)[0]
    if ttd_s is not None:
        opened = [row for row in facts.events if row.event.type == event_types.INCIDENT_DETECTED]
        text = f"It was detected {_duration(ttd_s)} after the onset."
        yield _said(Section.DETECTION, text, _incident(facts.incident), *_places(opened[:1]))
    for row in facts.events:
        if row.event.type == event_types.ALERT_FIRING:
            yield _event(Section.DETECTION, row)


def _response(facts: Facts) -> Iterator[Sentence]:
    tta_s = times_s(facts.incident)[1]
    if tta_s is None:
        yield _said(Section.RESPONSE, "Nobody acknowledged it.", _incident(facts.incident))
    else:
        by = facts.incident.acknowledged_by or "somebody"
        text = f"{by} acknowledged it {_duration(tta_s)} after the onset."
        yield _said(Section.RESPONSE, text, _incident(facts.incident))
    for row in facts.events:
        if row.event.type == event_types.OVERRIDE_CREATED:
            yield _event(Section.RESPONSE, row, "The gate was overridden: ")
        elif row.event.type in _RESPONSES:
            yield _event(Section.RESPONSE, row)


def _resolution(facts: Facts) -> Iterator[Sentence]:
    _, _, ttm_s, ttr_s = times_s(facts.incident)
    ended = [row for row in facts.events if row.event.type in _ENDINGS]
    if ttm_s is not None and ttr_s is not None:
        text = f"It was mitigated {_duration(ttm_s)} and resolved {_duration(ttr_s)} after the onset."
        yield _said(Section.RESOLUTION, text, _incident(facts.incident), *_places(ended[-1:]))
    for row in ended:
        yield _event(Section.RESOLUTION, row)


def _budget(facts: Facts) -> Iterator[Sentence]:
    found = worst(facts.impacts)
    if found is None or found.spent_ratio is None:
        text = "What it cost of an error budget is not known."
        yield _said(Section.BUDGET, text, _incident(facts.incident))
        return
    where = "/".join(found.objective.split("/")[-2:])
    text = (
        f"It cost {found.spent_ratio:.1%} of the period's error budget of {where} "
        f"({found.bad:,.0f} of {found.allowed or 0.0:,.0f} allowed)."
    )
    yield _said(Section.BUDGET, text, f"Budget/{found.objective}", _incident(facts.incident))
    yield from _charges(facts)


def _charges(facts: Facts) -> Iterator[Sentence]:
    """Whom the ledgers charge with what was spent during the incident."""
    end = facts.incident.cleared_at or facts.incident.resolved_at or facts.incident.onset_at
    for one in sorted(facts.ledgers, key=lambda one: one.key):
        for entry in one.entries:
            if entry.since > end or (entry.until or end) < facts.incident.onset_at:
                continue
            where = "/".join(one.key.split("/")[-2:])
            who = entry.name or "no change"
            until = f" to {entry.until:%H:%M}" if entry.until else ""
            text = (
                f"The ledger of {where} charges {who} with {entry.spent_ratio:.1%} of the budget, "
                f"{entry.since:%H:%M}{until} UTC: {entry.why}."
            )
            yield _said(Section.BUDGET, text, f"SpendLedger/{one.key}", _incident(facts.incident))


def _timeline(facts: Facts) -> Iterator[Sentence]:
    """Every event in order; of more than the limit, the first and the last, and how many lie between."""
    rows, half = facts.events, TIMELINE_MAX // 2
    head, tail = (rows, ()) if len(rows) <= TIMELINE_MAX else (rows[:half], rows[-half:])
    for row in head:
        yield _event(Section.TIMELINE, row, f"{row.at:%H:%M:%S} ")
    if tail:
        text = f"{len(rows) - 2 * half} more events lie between these."
        yield _said(Section.TIMELINE, text, *_places((rows[half], rows[-half - 1])))
    for row in tail:
        yield _event(Section.TIMELINE, row, f"{row.at:%H:%M:%S} ")


def _event(section: Section, row: Recorded, before: str = "") -> Sentence:
    return _said(section, _full(before + row.event.summary), f"event/{row.sequence}")


def _said(section: Section, text: str, *evidence: str) -> Sentence:
    bounded = text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"
    return Sentence(section=section, text=bounded, evidence=tuple(dict.fromkeys(evidence)))


def _full(text: str) -> str:
    """With a full stop, once."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _places(rows: Sequence[Recorded]) -> tuple[str, ...]:
    return tuple(f"event/{row.sequence}" for row in rows)


def _incident(one: Incident) -> str:
    return f"Incident/{one.key}"


def _name(service: str) -> str:
    return service.rpartition("/")[2]


def _listed(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"


def _duration(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
