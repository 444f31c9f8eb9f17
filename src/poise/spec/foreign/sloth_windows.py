"""Sloth's ``AlertWindows``: the tiers of a period that is not 28 or 30 days.

Source: slok/sloth 0e395d8, pkg/prometheus/alertwindows/v1, internal/alert/window.go.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from poise.spec.document import Node, Place, compose
from poise.spec.durations import parse_span
from poise.spec.foreign.checking import placed_at
from poise.spec.foreign.sloth import KUBERNETES_V1
from poise.spec.foreign.sloth_rules import Tier, Tiers
from poise.spec.problems import BAD_VALUE, CONTRADICTION, WRONG_TYPE, Report, shown
from poise.spec.read import plain, read_record
from poise.spec.shape import Anything, Choice, Field, Number, Record, Text

_TIER: Final = Record(
    fields=(
        Field("errorBudgetPercent", Number(low=0, high=100, open_ends=True), "percent", "Burnt so far.",
              required=True),
        Field("shortWindow", Text(), "short", "Whether it still burns.", required=True),
        Field("longWindow", Text(), "long", "Whether it is much.", required=True),
    )
)  # fmt: skip
_PAIR: Final = Record(
    fields=(
        Field("quick", _TIER, "quick", "The quick tier.", required=True),
        Field("slow", _TIER, "slow", "The slow tier.", required=True),
    )
)
_OBJECT: Final = Record(
    fields=(
        Field("apiVersion", Choice(words=(KUBERNETES_V1,)), "", "The format.", required=True),
        Field("kind", Choice(words=("AlertWindows",)), "", "The kind.", required=True),
        Field("metadata", Anything(), "", "Its name; no effect."),
        Field("spec", Record(fields=(
            Field("sloPeriod", Text(), "period", "The period of the budget.", required=True),
            Field("page", _PAIR, "page", "What pages.", required=True),
            Field("ticket", _PAIR, "ticket", "What can wait.", required=True),
        )), "spec", "The tiers.", required=True),
    )
)  # fmt: skip


class AlertWindows(Struct, frozen=True):
    """Tiers, and the period (s) that they are for."""

    period_s: float
    tiers: Tiers


def read_windows(text: str, filename: str) -> AlertWindows:
    """The tiers of a file. Raises ``Problems`` with every problem at its place."""
    report = Report(filename)
    documents = compose(text, filename)
    if len(documents) != 1:
        report.add(WRONG_TYPE, documents[1] if documents else Place(), "the file is one document",
                   mend="Write one document of kind AlertWindows.")  # fmt: skip
        report.raise_if_any()
    found = read_record(_OBJECT, documents[0], "the file", report)
    report.raise_if_any()
    assert found is not None
    values: Any = plain(found)
    spec, at = values["spec"], placed_at(documents[0], "spec")
    period_s = _span(spec["period"], placed_at(at, "sloPeriod"), report)
    pairs = {
        key: tuple(
            _tier(spec[key][speed], placed_at(at, key, speed), period_s, report)
            for speed in ("quick", "slow")
        )
        for key in ("page", "ticket")
    }
    report.raise_if_any()
    page, ticket = pairs["page"], pairs["ticket"]
    return AlertWindows(period_s, Tiers(page=(page[0], page[1]), ticket=(ticket[0], ticket[1])))


def _tier(given: Any, at: Node, period_s: float, report: Report) -> Tier:
    short_s = _span(given["short"], placed_at(at, "shortWindow"), report)
    long_s = _span(given["long"], placed_at(at, "longWindow"), report)
    if not short_s < long_s < period_s:
        what = "a tier's short window is shorter than its long one, and that than the period"
        report.add(CONTRADICTION, at, what, mend="Change one of them.")
    return Tier(short_s, long_s, float(given["percent"]))


def _span(text: str, place: Node, report: Report) -> float:
    seconds = parse_span(text)
    if not seconds:
        report.add(BAD_VALUE, place, f"{shown(text)} is not a duration", mend="Write e.g. '6h'.")
    return seconds or 0.0
