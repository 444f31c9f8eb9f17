"""Which change did it: each candidate is scored or cleared, with its evidence.

score = prior x temporal x topology x comparison, each 0..1 and shown as a number:

- ``prior``: what kind of change it is (a rollback is a rarer cause than a feature).
- ``temporal``: half for each ``HALF_LIFE_S`` that the new version answered well before it failed.
- ``topology``: 1 where failures start; else half for each dependency between.
- ``comparison``: the new version against the old one by Envoy's counters, beside it (a canary) or else
  before it, less what rose elsewhere: attributable share x (1 - exp(-log-likelihood ratio / 2)).

A change that was undone and failures ended leaves half of the doubt; where they went on, a third of its
score.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct, structs

from poise.model.event_types import CAUSE_DIAGNOSED
from poise.model.incident import Diagnosis, Evidence, IncidentState, Suspect, SuspectKind
from poise.model.record import Decision, Event, Write
from poise.reliability.cause.evidence import MIN_BAD, MIN_TRIALS, Comparison, Count, compare, rise
from poise.reliability.cause.scene import EXCESS_LOG_RATIO, OWN_SHARE, Candidate, Measure, Scene, Seen

EXPLAINED: Final = 0.5
WEAK: Final = 0.1  # below it a change is cleared
UNMEASURED: Final = 0.4  # in the place of a comparison that could not be made: below EXPLAINED
CONDEMNED: Final = 0.9
HALF_LIFE_S: Final = 60.0
UNMEASURED_HALF_LIFE_S: Final = 900.0
READING_S: Final = 15.0  # between a failure and the reading that shows it
AFTER_S: Final = 60.0  # an onset may be so late without the change being after it
VERSIONLESS_S: Final = 90.0  # how soon after a scaling or an external change failures must rise
ENDED: Final = 0.2  # failures of at most this share of their ratio have ended
QUIET_S: Final = 30.0  # of good answers after a change was undone
LOOKS_S: Final = (15.0, 60.0, 300.0)  # after the incident opened: more data
LOOK_AGAIN_S: Final = 300.0
SCORE_STEP: Final = 0.05  # a smaller difference of score is no news
SUSPECTS_MAX: Final = 10
CLEARED_MAX: Final = 50


class _Ruling(Struct, frozen=True):
    """What came out for one candidate."""

    suspect: Suspect
    cleared: bool
    measured: bool = True


def decide(seen: Seen, now: datetime) -> Decision:
    """The diagnosis, where it is news, and when to look again."""
    incident, before = seen.incident, seen.before
    if incident.state is IncidentState.MERGED:
        return Decision()
    again = None if incident.state.is_final else _next_look(incident.opened_at, now)
    made = diagnose(seen, now)
    if before is not None and _same(before, made):
        return Decision(wake_at=again)
    return Decision(
        reads=seen.reads,
        writes=(Write(kind="Diagnosis", key=incident.key, body=made),),
        events=() if before is not None and _headline(before) == _headline(made) else (_told(made),),
        wake_at=again,
    )


def diagnose(seen: Seen, now: datetime) -> Diagnosis:
    """Suspects by score and the changes that are cleared, from what is measured by ``now``."""
    scene = Scene(seen, now)
    rulings = [_rule(one, scene) for one in seen.candidates]
    suspects = [one.suspect for one in rulings if not one.cleared]
    explained = any(one.score >= EXPLAINED for one in suspects)
    suspects += [] if explained else _dependencies(scene)
    suspects.sort(key=lambda one: (-one.score, one.subject))
    unmeasured = any(not one.measured and not one.cleared for one in rulings)
    cleared = [one.suspect for one in rulings if one.cleared]
    return Diagnosis(
        incident=seen.incident.key,
        at=now,
        onset_at=seen.incident.onset_at,
        explained=explained,
        sentence=_sentence(suspects, explained, unmeasured, scene, len(cleared)),
        suspects=tuple(suspects[:SUSPECTS_MAX]),
        cleared=tuple(sorted(cleared, key=lambda one: (-_instant(one), one.subject))[:CLEARED_MAX]),
        unusual=tuple(_unusual(seen)),
    )


def _unusual(seen: Seen) -> list[Evidence]:
    """What each service's signals did that they seldom do."""
    return [
        Evidence(
            rule="unusual",
            text=f"{one.signal.value} of {_name(service)} unusual for this time from {one.since:%H:%M} UTC: "
            f"further out than {one.score:.1%} of earlier values",
            numbers={"score": round(one.score, 3)},
        )
        for service, usual in seen.usual.items()
        for one in usual.stretches
    ]


def _instant(suspect: Suspect) -> float:
    return suspect.at.timestamp() if suspect.at else 0.0


# -- one candidate --------------------------------------------------------------------------------


def _rule(one: Candidate, scene: Scene) -> _Ruling:
    """Score it, or clear it by the first reason that applies."""
    reason = _innocent(one, scene)
    if reason is not None:
        return _clear(one, reason)
    return _by_version(one, scene) if one.n is not None else _without_version(one, scene)


def _innocent(one: Candidate, scene: Scene) -> Evidence | None:
    """Why it cannot have been this change, whatever its versions did."""
    began = one.began_at.timestamp()
    name = _name(one.service)
    if one.service not in scene.connected:
        return _proof(one, "unconnected", f"nothing that fails depends on {name}")
    if began > scene.onset + AFTER_S:
        late_s = began - scene.onset
        return _proof(one, "after", f"it took traffic {late_s:.0f} s after the onset", {"after_s": late_s})
    own = scene.own_share(one.service)
    if own is not None and own < OWN_SHARE:
        text = f"the failures of {name} are those of what it depends on ({1 - own:.0%})"
        return _proof(one, "passed-on", text, {"own_share_ratio": own})
    if own is None and scene.answers_well(one.service) and not one.condemned:
        return _proof(one, "answers-well", f"{name} answers no worse than before the onset")
    return _undone_before(one, scene) or _began_before(one, scene)


def _undone_before(one: Candidate, scene: Scene) -> Evidence | None:
    """It was taken back, its service answered well again, and only then did this begin.

    The half minute after it tells; the time up to the onset does not, for an alert is later than its cause.
    """
    whole = scene.whole.get(one.service)
    if one.undone_at is None or whole is None or one.undone_at.timestamp() + AFTER_S > scene.onset:
        return None
    undone = one.undone_at.timestamp()
    end = undone + READING_S + QUIET_S
    then, since = whole.count(undone + READING_S, end), whole.count(scene.onset, scene.end)
    if then.trials < MIN_TRIALS or then.ratio > ENDED * since.ratio:
        return None
    before_s = scene.onset - undone
    text = f"it was undone {before_s:.0f} s before the onset, and {_name(one.service)} answered well then"
    return _proof(one, "undone-before", text, {"before_s": before_s, "ratio_then": round(then.ratio, 4)})


def _began_before(one: Candidate, scene: Scene) -> Evidence | None:
    began, step = one.began_at.timestamp(), scene.rises.get(one.service)
    if step is None or step.at >= began - READING_S:
        return None
    whole = scene.whole[one.service]
    earlier, usual = whole.count(step.at - 1e-3, began), whole.count(scene.start, step.at - 1e-3)
    found = compare(earlier, usual)
    if found is None or found.log_ratio < EXCESS_LOG_RATIO:
        return None
    text = f"{_name(one.service)} failed {began - step.at:.0f} s before it took traffic"
    return _proof(one, "began-before", text, {"before_s": began - step.at, "bad": earlier.bad})


def _by_version(one: Candidate, scene: Scene) -> _Ruling:
    """A rollout: its version against the one before."""
    found, rule = _told_apart(one, scene)
    if found is None and not one.condemned:
        return _unmeasured(one, scene)
    proofs = []
    comparison = found.strength if found is not None else 0.0
    if found is not None:
        proofs.append(_compared(one, found, rule, scene.measure))
        if comparison < WEAK and not one.condemned:
            return _clear(one, structs.replace(proofs[0], rule="alike"))
    if one.condemned:
        comparison = max(comparison, CONDEMNED)
        proofs.append(_proof(one, "condemned", one.condemned))
    clean_s = _clean_s(one, scene)
    temporal = max(0.05, 0.5 ** (max(0.0, clean_s - READING_S) / HALF_LIFE_S))
    return _scored(one, scene, comparison, temporal, {"clean_s": round(clean_s, 1)}, proofs)


def _without_version(one: Candidate, scene: Scene) -> _Ruling:
    """A scaling or another system's change: did failures rise right after it?"""
    step, began = scene.rises.get(one.service), one.began_at.timestamp()
    if step is None:
        if scene.is_measured and scene.whole.get(one.service) is not None:
            return _clear(one, _proof(one, "no-rise", f"{_name(one.service)}'s failures did not rise"))
        return _unmeasured(one, scene)
    lag_s = step.at - began
    if not -READING_S <= lag_s <= VERSIONLESS_S:
        text = f"failures of {_name(one.service)} rose {lag_s:.0f} s after it"
        return _clear(one, _proof(one, "no-rise", text, {"lag_s": lag_s}))
    temporal = 0.5 ** (max(0.0, lag_s - READING_S) / HALF_LIFE_S)
    text = f"failures of {_name(one.service)} rose {lag_s:.0f} s after it"
    proof = _proof(one, "rise", text, {"lag_s": round(lag_s, 1), "log_ratio": round(step.gain, 2)})
    return _scored(one, scene, -math.expm1(-step.gain / 2.0), temporal, {}, [proof])


def _unmeasured(one: Candidate, scene: Scene) -> _Ruling:
    lag_s = max(0.0, scene.onset - one.began_at.timestamp())
    temporal = 0.5 ** (lag_s / UNMEASURED_HALF_LIFE_S)
    proof = _proof(one, "unmeasured", "too few requests were counted to compare its versions")
    ruling = _scored(one, scene, UNMEASURED, temporal, {"lag_s": round(lag_s, 1)}, [proof])
    return structs.replace(ruling, measured=False, cleared=False)


def _scored(
    one: Candidate,
    scene: Scene,
    comparison: float,
    temporal: float,
    numbers: dict[str, Any],
    proofs: list[Evidence],
) -> _Ruling:
    """The formula; undoing is evidence too."""
    topology = 1.0 if scene.own_share(one.service) is not None else 0.5 ** scene.distance(one.service)
    score = one.prior * temporal * topology * comparison
    undone = _undone(one, scene)
    if undone is not None:
        score = 1.0 - (1.0 - score) * 0.5 if undone.rule == "undone-ended" else score / 3.0
        proofs = [*proofs, undone]
    factors = {"prior": one.prior, "temporal": temporal, "topology": topology, "comparison": comparison}
    rounded = {name: round(value, 3) for name, value in factors.items()}
    when = "took traffic" if one.n is not None else "happened"
    lead_s = scene.since - one.began_at.timestamp()
    text = f"it {when} {abs(lead_s):.0f} s {'before' if lead_s >= 0 else 'after'} the first failures"
    proofs = [*proofs, _proof(one, "time", text, {"lead_s": round(lead_s, 1), **numbers, **rounded})]
    suspect = _suspect(one, round(min(1.0, score), 3), tuple(proofs))
    return _Ruling(suspect, cleared=score < WEAK)


# -- comparing ------------------------------------------------------------------------------------


def _told_apart(one: Candidate, scene: Scene) -> tuple[Comparison | None, str]:
    """The comparison that tells most: beside one another, unless that saw too little to decide.

    Where both versions failed alike beside one another, no look at before and after can accuse the new one.
    """
    beside = _beside(one, scene)
    if beside is not None and (beside.attributable < 0.5 or beside.strength >= EXPLAINED):
        few = beside.new.trials < 50 and beside.new.bad + beside.old.bad < 2 * MIN_BAD
        if not few:
            return beside, "beside"
    across = _before_and_after(one, scene)
    if beside is None or (across is not None and across.strength > beside.strength):
        return across, "before-after"
    return beside, "beside"


def _beside(one: Candidate, scene: Scene) -> Comparison | None:
    """The two versions while both took traffic: whatever else went wrong met them alike."""
    new, old = scene.flow(one.service, one.n), scene.flow(one.service, one.old)
    if new.span is None or old.span is None:
        return None
    start, end = new.span[0] - 1e-3, min(new.span[1], old.span[1], scene.end)
    mine, other = new.count(start, end), old.count(start, end)
    if mine.trials < MIN_TRIALS or other.trials < MIN_TRIALS:
        return None
    telling = mine.bad >= MIN_BAD or other.bad >= MIN_BAD
    return compare(mine, other) if telling else None


def _before_and_after(one: Candidate, scene: Scene) -> Comparison | None:
    """The new version after against the old one before, less what rose elsewhere meanwhile."""
    began = one.began_at.timestamp()
    end = min(scene.end, one.undone_at.timestamp() if one.undone_at else scene.end)
    new = scene.flow(one.service, one.n).count(began - READING_S, end)
    old = scene.flow(one.service, one.old).count(scene.start, began)
    if old.trials < MIN_TRIALS:  # its predecessor was not counted: what the service answered before
        old = scene.whole[one.service].count(scene.start, began) if one.service in scene.whole else Count()
    return compare(new, old, scene.elsewhere(one.service, began, end))


def _clean_s(one: Candidate, scene: Scene) -> float:
    """How long the new version answered well before it failed, where that can be told."""
    flow, began = scene.flow(one.service, one.n), one.began_at.timestamp()
    start = max(scene.start, began - READING_S)
    step = rise(flow, start, scene.end)
    return max(0.0, step.at - max(began, scene.start)) if step else 0.0


def _undone(one: Candidate, scene: Scene) -> Evidence | None:
    """Whether failures ended once it took no traffic any more."""
    if one.undone_at is None or one.undone_at.timestamp() < scene.since:
        return None
    undone, whole = one.undone_at.timestamp(), scene.whole.get(one.service)
    if whole is None:
        return None
    during, after = whole.count(scene.since, undone), whole.count(undone + READING_S, scene.until)
    if after.trials < MIN_TRIALS or during.bad < MIN_BAD:
        return None
    numbers = {"during_ratio": round(during.ratio, 4), "after_ratio": round(after.ratio, 4)}
    if after.ratio <= ENDED * during.ratio:
        return _proof(one, "undone-ended", "it was undone and the failures ended", numbers)
    if after.ratio >= 0.5 * during.ratio:
        return _proof(one, "undone-went-on", "it was undone and the failures went on", numbers)
    return None


def _compared(one: Candidate, found: Comparison, rule: str, measure: Measure) -> Evidence:
    where = "beside it" if rule == "beside" else "before it"
    text = (
        f"{found.new.ratio:.1%} of {found.new.trials:.0f} requests to the new version {_word(measure)}, "
        f"{found.old.ratio:.1%} of {found.old.trials:.0f} to the old one {where}"
    )
    numbers = {
        "new_trials": found.new.trials,
        "new_bad": found.new.bad,
        "old_trials": found.old.trials,
        "old_bad": found.old.bad,
        "log_ratio": round(found.log_ratio, 2),
        "attributable_ratio": round(found.attributable, 3),
    }
    return _proof(one, rule, text, numbers)


def _word(measure: Measure) -> str:
    return "failed" if measure is Measure.FAILED else "were slow"


# -- the whole ------------------------------------------------------------------------------------


def _dependencies(scene: Scene) -> list[Suspect]:
    """Where failures start, when that is below the service that alerted: it fails by itself."""
    start = scene.starts_at()
    if start is None or start == scene.seen.incident.service:
        return []
    found, own = scene.excess(start), scene.own_share(start)
    if found is None or own is None or own < OWN_SHARE:
        return []
    text = (
        f"failures start in {_name(start)}: {found.new.ratio:.1%} of {found.new.trials:.0f} requests, "
        f"{found.old.ratio:.1%} before"
    )
    proof = Evidence(
        rule="starts-here", text=text, numbers={"own_share_ratio": round(own, 3), "bad": found.new.bad}
    )
    return [
        Suspect(
            kind=SuspectKind.DEPENDENCY,
            subject=start,
            summary=f"{_name(start)} fails by itself",
            at=None,
            score=round(found.strength * own, 3),
            evidence=(proof,),
        )
    ]


def _sentence(suspects: list[Suspect], explained: bool, unmeasured: bool, scene: Scene, cleared: int) -> str:
    if explained:
        top = suspects[0]
        return f"{top.summary} explains it ({top.score:.2f}): {top.evidence[0].text}."
    looked = f"{cleared + sum(one.kind is not SuspectKind.DEPENDENCY for one in suspects)} changes"
    if unmeasured or (not scene.is_measured and (suspects or cleared)):
        return f"Unknown: too little was measured to say which of {looked} did it, if any."
    start = scene.starts_at()
    where = f"; failures start in {_name(start)}" if start else ""
    return f"No change explains this ({looked} were looked at){where}."


def _headline(one: Diagnosis) -> tuple[object, ...]:
    top = one.suspects[0].subject if one.suspects else None
    return (one.explained, top)


def _same(before: Diagnosis, made: Diagnosis) -> bool:
    """Whether nothing is news: the same findings, and scores that hardly moved."""
    if _headline(before) != _headline(made) or len(before.cleared) != len(made.cleared):
        return False
    if {one.subject for one in before.suspects} != {one.subject for one in made.suspects}:
        return False
    if {one.text for one in before.unusual} != {one.text for one in made.unusual}:
        return False
    scores = {one.subject: one.score for one in before.suspects}
    return all(abs(scores[one.subject] - one.score) < SCORE_STEP for one in made.suspects)


def _told(made: Diagnosis) -> Event:
    top = made.suspects[0] if made.suspects else None
    return Event(
        type=CAUSE_DIAGNOSED,
        subject=made.incident,
        summary=made.sentence,
        data={
            "explained": made.explained,
            "suspect": top.subject if top else None,
            "score": top.score if top else 0.0,
            "suspects": len(made.suspects),
            "cleared": len(made.cleared),
        },
    )


def _next_look(opened_at: datetime, now: datetime) -> datetime:
    looks = (opened_at + timedelta(seconds=after_s) for after_s in LOOKS_S)
    return next((at for at in looks if at > now), now + timedelta(seconds=LOOK_AGAIN_S))


def _clear(one: Candidate, proof: Evidence) -> _Ruling:
    return _Ruling(_suspect(one, 0.0, (proof,)), cleared=True)


def _suspect(one: Candidate, score: float, proofs: tuple[Evidence, ...]) -> Suspect:
    return Suspect(
        kind=one.kind, subject=one.subject, summary=one.summary, at=one.began_at, score=score, evidence=proofs
    )


def _proof(one: Candidate, rule: str, text: str, numbers: dict[str, Any] | None = None) -> Evidence:
    return Evidence(rule=rule, text=text, numbers=numbers or {}, events=one.events)


def _name(service: str) -> str:
    return service.rpartition("/")[2]
