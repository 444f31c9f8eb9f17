"""The keys of ``kind: OnCallSchedule`` and ``kind: EscalationPolicy``; defaults are the models' own."""

from __future__ import annotations

from typing import Final

from poise.model.oncall import ShiftUnit
from poise.spec.keys_text import NAME
from poise.spec.shape import Choice, Duration, Field, Integer, ListOf, Record, Text

DAY_S: Final = 86_400.0
_CLOCK: Final = r"([01][0-9]|2[0-3]):[0-5][0-9]"

CONTACT: Final = Record(
    fields=(
        Field(
            "webhook",
            Text(
                pattern=r"https?://[A-Za-z0-9\[][!-~]*",
                hint="A webhook starts with http:// or https:// and has no spaces.",
                max_chars=2000,
            ),
            "webhook",
            "An address that takes a POST.",
        ),
        Field(
            "email",
            Text(
                pattern=r"[^\s@<>,;:\"\\()\[\]]+@[^\s@<>,;:\"\\()\[\]]+",
                hint="An address has one @ and no spaces, as in anna@example.org.",
                max_chars=254,
            ),
            "email",
            "A mailbox.",
        ),
    ),
    refused={
        "sms": "Use a webhook of your gateway.",
        "phone": "Use a webhook of your gateway.",
        "slack": "Use 'webhook'.",
    },
)
PERSON: Final = Record(
    fields=(
        Field("name", NAME, "name", "The person, as in rotations and actions.", required=True),
        Field(
            "contacts", ListOf(item=CONTACT, high=10), "contacts", "How to reach them; all are used at once."
        ),
    )
)
ROTATION: Final = Record(
    fields=(
        Field(
            "people",
            ListOf(item=NAME, low=1, high=100),
            "people",
            "Who takes turns, in this order.",
            required=True,
        ),
        Field("unit", Choice(words=tuple(ShiftUnit)), "unit", "What a turn is counted in."),
        Field("every", Integer(low=1, high=1000), "every", "How many units a turn lasts."),
        Field(
            "handoff",
            Text(pattern=_CLOCK, hint="A time of the day has two digits each, as in '09:00'.", max_chars=5),
            "handoff",
            "The time of the day, in the zone, at which turns change.",
        ),
        Field(
            "starts",
            Text(
                pattern=r"20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
                hint="A date is written as in 2026-01-05.",
                max_chars=10,
            ),
            "starts",
            "The day of the first handoff.",
            required=True,
        ),
        Field(
            "hours",
            Text(
                pattern=rf"{_CLOCK}-({_CLOCK}|24:00)",
                hint="Hours are written as in '09:00-17:00', or '17:00-09:00' through the night.",
                max_chars=11,
            ),
            "hours",
            "The hours of the day that it covers; all, when left out.",
        ),
    )
)
SCHEDULE: Final = Record(
    fields=(
        Field("zone", Text(max_chars=60), "zone", "The IANA time zone, as in Europe/Berlin.", required=True),
        Field("people", ListOf(item=PERSON, low=1, high=100), "people", "Who can be on call.", required=True),
        Field(
            "rotations",
            ListOf(item=ROTATION, low=1, high=20),
            "rotations",
            "Who takes turns; the first one that covers an instant says who.",
            required=True,
        ),
        Field(
            "holes",
            Choice(words=("refused", "allowed")),
            "holes",
            "Whether there may be hours in which nobody is on call.",
        ),
    )
)

STEP: Final = Record(
    fields=(
        Field("schedule", NAME, "schedule", "Page whoever this schedule names now."),
        Field("person", NAME, "person", "Page this person."),
        Field(
            "wait",
            Duration(low_s=1, high_s=DAY_S),
            "wait_s",
            "How long to wait for an acknowledgement before the next step.",
        ),
    )
)
ESCALATION: Final = Record(
    fields=(
        Field("steps", ListOf(item=STEP, high=20), "steps", "Who is paged, in order.", required=True),
        Field("rounds", Integer(low=1, high=20), "rounds", "How often all steps are gone through."),
        Field(
            "remind",
            Duration(low_s=1, high_s=DAY_S),
            "remind_s",
            "After the last round the last step repeats so often until somebody answers.",
        ),
    )
)
