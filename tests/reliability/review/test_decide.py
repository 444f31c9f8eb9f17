"""The post-mortem: every sentence has evidence, every word of others is data, and people's text is theirs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace

from poise.model import event_types
from poise.model.incident import Diagnosis, Evidence, Incident, IncidentState, Severity, Suspect, SuspectKind
from poise.model.record import GENESIS_HASH, Event, Recorded
from poise.model.review import Action, ActionKind, Review, ReviewEdit, ReviewState, Section
from poise.model.spend import Spend, SpendCause, SpendLedger
from poise.reliability.review.decide import Seen, decide
from poise.reliability.review.draft import PROMPTS, Facts, Impact, markdown, plain, sentences

ONSET = datetime(2026, 11, 20, 12, tzinfo=UTC)
PAY = "acme/production/pay"
ROLLOUT = f"{PAY}/000003"


def at(seconds: float) -> datetime:
    return ONSET + timedelta(seconds=seconds)


INCIDENT = Incident(
    project="acme", environment="production", n=7, title="pay fails", state=IncidentState.RESOLVED,
    severity=Severity.SEV1, service=PAY, services=(PAY,), onset_at=ONSET, opened_at=at(20),
    acknowledged_at=at(50), acknowledged_by="ada", mitigated_at=at(200), resolved_at=at(260),
    resolved_by="ada",
)  # fmt: skip
DIAGNOSIS = Diagnosis(
    incident=INCIDENT.key, at=at(60), onset_at=ONSET, explained=True,
    sentence="config 2 (URL) of pay rollout 3 explains it (0.99): 40% failed.",
    suspects=(
        Suspect(
            kind=SuspectKind.CONFIG, subject=ROLLOUT, summary="config 2 (URL) of pay rollout 3", at=at(-8),
            score=0.99, evidence=(Evidence(rule="before-after", text="40% failed", events=(2,)),),
        ),
    ),
)  # fmt: skip


def event(sequence: int, seconds: float, kind: str, subject: str, summary: str, **data: Any) -> Recorded:
    return Recorded(
        sequence=sequence, at=at(seconds), previous_hash=GENESIS_HASH, hash=GENESIS_HASH,
        event=Event(type=kind, subject=subject, summary=summary, data=data),
    )  # fmt: skip


EVENTS = (
    event(1, -20, event_types.OVERRIDE_CREATED, f"{PAY}/000001", "bob overrides the gate of pay: fair"),
    event(2, -8, event_types.ROLLOUT_STEPPED, ROLLOUT, "pay goes from 0 % to 100 %: go", override=1),
    event(3, 15, event_types.ALERT_FIRING, f"{PAY}/burn", "pay burns 50 times too fast"),
    event(4, 20, event_types.INCIDENT_DETECTED, INCIDENT.key, "incident 7 is open"),
    event(5, 50, event_types.INCIDENT_ACKNOWLEDGED, INCIDENT.key, "ada acknowledged incident 7"),
    event(6, 260, event_types.INCIDENT_RESOLVED, INCIDENT.key, "ada resolved incident 7"),
)
FACTS = Facts(
    incident=INCIDENT,
    diagnosis=DIAGNOSIS,
    impacts=(Impact(objective=f"{PAY}/availability", bad=80.0, total=400.0, allowed=1000.0),),
    events=EVENTS,
)


def text_of(section: Section, facts: Facts = FACTS) -> str:
    return " ".join(one.text for one in sentences(facts) if one.section is section)


def drafted(facts: Facts = FACTS) -> Review:
    body = decide(Seen(facts=facts), at(261)).writes[0].body
    assert isinstance(body, Review)
    return body


def test_the_draft_tells_the_story_with_its_numbers() -> None:
    review = drafted()
    assert (review.ttd_s, review.tta_s, review.ttm_s, review.ttr_s) == (20.0, 50.0, 200.0, 260.0)
    assert (review.failed_requests, review.budget_spent_ratio) == (80.0, 0.08)
    assert "80 of 400 requests" in text_of(Section.IMPACT)
    assert "8.0% of the period's error budget" in text_of(Section.BUDGET)
    assert "20 s after the onset" in text_of(Section.DETECTION)
    assert review.actions == () and review.state is ReviewState.DRAFT


def test_whom_the_ledger_charges_is_told_with_its_evidence() -> None:
    """'v43 cost 3.1 % of the month' belongs into the post-mortem."""
    entry = Spend(
        since=at(-5), until=at(190), events=400, bad=80, spent_ratio=0.08, cause=SpendCause.DEPLOY,
        subject=ROLLOUT, name="release 43 of pay", chance=0.9, why="it began at the same time, 90 % likely",
    )  # fmt: skip
    older = replace(entry, since=at(-9000), until=at(-8000), name="release 42 of pay")
    ledger = SpendLedger(
        service=PAY, objective="availability", at=at(300), bad=200, allowed=1000, window_s=1e6, usual_bad=40,
        entries=(older, entry),
    )  # fmt: skip
    facts = replace(FACTS, ledgers=(ledger,))
    charged = [one for one in sentences(facts) if "charges" in one.text]
    assert len(charged) == 1
    assert "charges release 43 of pay with 8.0% of the budget" in charged[0].text
    assert charged[0].evidence[0] == f"SpendLedger/{PAY}/availability"


def test_the_whole_text_is_the_golden_one() -> None:
    """To accept a new text, read the difference first, then write it over the file beside this test."""
    assert drafted().text == (Path(__file__).parent / "draft.golden.md").read_text()


def test_a_change_that_was_forced_past_the_gate_is_told_with_the_override() -> None:
    forced = [one for one in sentences(FACTS) if "forced past the gate" in one.text]
    assert [one.evidence for one in forced] == [("event/2", "event/1")]


def test_no_change_and_no_measurement_are_said_honestly() -> None:
    honest = replace(
        DIAGNOSIS, explained=False, sentence="No change explains this (3 were looked at).", suspects=()
    )
    facts = replace(FACTS, diagnosis=honest, impacts=())
    assert "No change explains this" in text_of(Section.TRIGGER, facts)
    assert "not measured" in text_of(Section.IMPACT, facts)
    assert drafted(facts).failed_requests is None


def test_an_open_incident_has_no_review() -> None:
    facts = replace(FACTS, incident=replace(INCIDENT, state=IncidentState.MITIGATED))
    assert decide(Seen(facts=facts), at(261)).is_empty


def test_told_twice_the_draft_is_written_once() -> None:
    assert decide(Seen(facts=FACTS, review=drafted()), at(300)).is_empty


def edit(k: int, **changes: Any) -> ReviewEdit:
    return ReviewEdit(incident=INCIDENT.key, k=k, by="ada", at=at(500), **changes)


def folded(review: Review, *edits: ReviewEdit, facts: Facts = FACTS) -> Review:
    body = decide(Seen(facts=facts, review=review, edits=edits), at(600)).writes[0].body
    assert isinstance(body, Review)
    return body


def test_a_text_that_a_person_wrote_is_never_overwritten() -> None:
    mine = folded(drafted(), edit(1, text="What really happened."))
    later = replace(FACTS, events=EVENTS[:2])
    assert decide(Seen(facts=later, review=mine), at(900)).is_empty
    assert (mine.text, mine.edited) == ("What really happened.", True)


def test_until_somebody_edits_it_the_draft_follows_the_record() -> None:
    review = folded(drafted(), edit(1, action=ACTION))
    later = decide(Seen(facts=replace(FACTS, impacts=()), review=review), at(900)).writes[0].body
    assert isinstance(later, Review)
    assert (later.failed_requests, later.actions, later.drafted_at) == (None, review.actions, at(261))


ACTION = Action(
    n=0, kind=ActionKind.PREVENT, text="check URLs", owner="bob", due_at=at(86_400), verification="a test"
)


def test_actions_are_added_replaced_and_done_once() -> None:
    one = folded(drafted(), edit(1, action=ACTION), edit(2, action=replace(ACTION, text="another")))
    assert [action.n for action in one.actions] == [1, 2]
    two = folded(one, edit(3, action=replace(ACTION, n=1, text="better")), edit(4, done=1))
    assert [(a.text, a.done_by) for a in two.actions] == [("better", "ada"), ("another", None)]
    assert decide(Seen(facts=FACTS, review=two, edits=(edit(4, done=1),)), at(700)).is_empty


def test_a_published_review_says_who_and_when() -> None:
    made = folded(drafted(), edit(1, publish=True))
    assert (made.state, made.published_by, made.published_at) == (ReviewState.PUBLISHED, "ada", at(500))


words = st.text(max_size=80)
events = st.builds(
    event,
    st.integers(1, 10_000),
    st.floats(-100, 400),
    st.sampled_from([value for name, value in vars(event_types).items() if name.isupper()]),
    st.sampled_from([PAY, ROLLOUT, INCIDENT.key]),
    words,
)


@given(st.lists(events, max_size=12), st.booleans(), words)
def test_every_sentence_has_evidence_and_the_text_holds_nothing_else(
    rows: list[Recorded], diagnosed: bool, title: str
) -> None:
    facts = replace(FACTS, events=tuple(rows), diagnosis=DIAGNOSIS if diagnosed else None)
    made = sentences(facts)
    assert made and all(one.evidence for one in made)
    text = markdown(title, made)
    bullets = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(bullets) == len(made)
    for bullet, one in zip(bullets, sorted(made, key=lambda s: list(Section).index(s.section)), strict=True):
        assert bullet.startswith(f"- {plain(one.text)}[^") or not plain(one.text)
    fixed = {f"_{prompt}_" for _, prompt in PROMPTS} | {"_Nothing is on record._", ""}
    rest = [line for line in text.splitlines() if not line.startswith(("- ", "#", "[^"))]
    assert set(rest) <= fixed


@given(
    st.one_of(words, st.sampled_from(["<script>alert(1)</script>", "[x](javascript:a)", "![](x)", "`</p>"]))
)
def test_the_words_of_others_are_neither_markdown_nor_html(said: str) -> None:
    tokens = MarkdownIt("commonmark", {"html": True}).parseInline(plain(said))
    kinds = {child.type for token in tokens for child in token.children or []}
    assert kinds <= {"text", "text_special"}


def test_the_class_of_outage_is_kept_through_drafts() -> None:
    """The budget policy adds classes up over a quarter; a new draft must not forget one."""
    named = folded(drafted(), edit(1, outage_class="dns"))
    seen = Seen(facts=replace(FACTS, impacts=()), review=named)
    (write,) = decide(seen, at(700)).writes
    assert named.outage_class == "dns" and write.body.outage_class == "dns"  # type: ignore[union-attr]
