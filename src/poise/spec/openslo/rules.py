"""What OpenSLO v1 demands beyond the shape of a document.

Source: OpenSLO/OpenSLO README.md at aa5cb78, the notes of each kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from poise.spec.document import Items, Mapping, Node, Scalar
from poise.spec.problems import BAD_VALUE, CONTRADICTION, MISSING_KEY, WRONG_TYPE, Report, shown

_KEY: Final = re.compile(r"[a-z0-9A-Z]([-_.a-z0-9A-Z]{0,61}[a-z0-9A-Z])?")
_PREFIXED: Final = re.compile(r"(?:[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?" + _KEY.pattern)
_SLICE: Final = re.compile(r"[1-9][0-9]{0,8}[mhdwMQY]?")


def check_metadata(node: Node | None, report: Report) -> None:
    """Labels are texts or lists of texts, annotations texts; keys as Kubernetes writes them."""
    for key, pattern, lists in (("labels", _KEY, True), ("annotations", _PREFIXED, False)):
        found = _get(node, key)
        if found is None:
            continue
        if not isinstance(found, Mapping):
            report.add(WRONG_TYPE, found, f"'{key}' must be a mapping", mend="Write 'name: value'.")
            continue
        for name, value in found.entries:
            if not pattern.fullmatch(name.text):
                report.add(BAD_VALUE, name, f"{shown(name.text)} is no key of {key}", mend="Rename it.")
            several = isinstance(value, Items) and lists
            texts = value.items if isinstance(value, Items) and several else (value,)
            if not all(isinstance(one, Scalar) and one.kind != "null" for one in texts):
                told = "a text or a list of texts" if lists else "a text"
                report.add(WRONG_TYPE, value, f"{shown(name.text)} must be {told}", mend="Write a text.")


def check(kind: str, node: Node, report: Report) -> None:
    """All rules of a kind's ``spec``."""
    match kind:
        case "SLO":
            _slo(node, report)
        case "SLI":
            _indicator(node, report)
        case "AlertPolicy":
            _policy(node, report)
        case _:
            pass


def _slo(node: Node, report: Report) -> None:
    objectives = list(_items(_get(node, "objectives")))
    composite = any(_has(one, "indicator") or _has(one, "indicatorRef") for one in objectives)
    own = [key for key in ("indicator", "indicatorRef") if _has(node, key)]
    if composite == bool(own):
        what = "an indicator is declared for the SLO or for each of its objectives, not for both or none"
        report.add(CONTRADICTION, node, what, mend="Write 'indicator' or 'indicatorRef' in one place.")
    _one_of(node, own, ("indicator", "indicatorRef"), report, needed=False)
    for one in _items(_get(node, "timeWindow")):
        _window(one, report)
    method, inline = _text(node, "budgetingMethod"), _get(node, "indicator")
    for one in objectives:
        _objective(one, method, report)
        if composite:
            given = [key for key in ("indicator", "indicatorRef") if _has(one, key)]
            _one_of(one, given, ("indicator", "indicatorRef"), report, needed=True)
        _compared(one, _get(one, "indicator") or inline, report)
    for place in (node, *objectives):
        indicator = _get(place, "indicator")
        if indicator is not None:
            check_metadata(_get(indicator, "metadata"), report)
            spec = _get(indicator, "spec")
            if spec is not None:
                _indicator(spec, report)
    for one in _items(_get(node, "alertPolicies")):
        _inline(one, "alertPolicyRef", "AlertPolicy", report)


def _window(node: Node, report: Report) -> None:
    rolling = _text(node, "isRolling") == "true"
    calendar = _get(node, "calendar")
    if rolling == (calendar is not None):
        what = "a window rolls, or it has a calendar"
        report.add(CONTRADICTION, node, what, mend="Write 'isRolling: true' or 'calendar: {...}'.")
    if calendar is None:
        return
    zone, starts = _get(calendar, "timeZone"), _get(calendar, "startTime")
    if isinstance(zone, Scalar):
        try:
            ZoneInfo(zone.text)
        except (ValueError, OSError, KeyError):
            what = f"{shown(zone.text)} is no time zone"
            report.add(BAD_VALUE, zone, what, mend="Write an IANA name, such as Europe/Berlin.")
    if isinstance(starts, Scalar):
        try:
            datetime.fromisoformat(starts.text)
        except ValueError:
            what = f"{shown(starts.text)} is no date with a time"
            report.add(BAD_VALUE, starts, what, mend="Write e.g. 2022-01-01 12:00:00.")


def _objective(node: Node, method: str, report: Report) -> None:
    given = [key for key in ("target", "targetPercent") if _has(node, key)]
    _one_of(node, given, ("target", "targetPercent"), report, needed=True)
    for key, end in (("target", 1.0), ("targetPercent", 100.0)):
        target = _get(node, key)
        if isinstance(target, Scalar) and _number(target) == end:
            report.add(BAD_VALUE, target, f"a target of {target.text} leaves no budget", mend="Lower it.")
    if method == "Timeslices":
        _needed(node, "timeSliceTarget", "Timeslices", report)
        target = _get(node, "timeSliceTarget")
        if isinstance(target, Scalar) and _number(target) == 0:
            report.add(BAD_VALUE, target, "a slice target of 0 calls every slice good", mend="Raise it.")
    if method in ("Timeslices", "RatioTimeslices"):
        _needed(node, "timeSliceWindow", method, report)
    window = _get(node, "timeSliceWindow")
    if isinstance(window, Scalar) and not _SLICE.fullmatch(window.text):
        what = f"{shown(window.text)} is no slice"
        report.add(BAD_VALUE, window, what, mend="Write minutes, or e.g. 5m.")
    weight = _get(node, "compositeWeight")
    if isinstance(weight, Scalar) and _number(weight) == 0:
        report.add(BAD_VALUE, weight, "a weight of 0 counts for nothing", mend="Remove the objective.")


def _compared(node: Node, indicator: Node | None, report: Report) -> None:
    """A threshold needs ``op`` and ``value``; whether it is one, only an inline indicator tells."""
    if _has(_get(indicator, "spec"), "thresholdMetric"):
        for key in ("op", "value"):
            _needed(node, key, "a thresholdMetric", report)


def _indicator(node: Node, report: Report) -> None:
    given = [key for key in ("thresholdMetric", "ratioMetric") if _has(node, key)]
    _one_of(node, given, ("thresholdMetric", "ratioMetric"), report, needed=True)
    for metric in _metrics(node):
        source = _get(metric, "metricSource")
        if source is not None and not isinstance(_get(source, "spec"), Mapping | None):
            report.add(
                WRONG_TYPE, _get(source, "spec") or source, "'spec' must be a mapping", mend="Write keys."
            )
    ratio = _get(node, "ratioMetric")
    if ratio is None:
        return
    sides = [key for key in ("good", "bad") if _has(ratio, key)]
    if _has(ratio, "raw"):
        _needed(ratio, "rawType", "'raw'", report)
        if sides or _has(ratio, "total"):
            what = "'raw' is the ratio itself; it stands alone"
            report.add(CONTRADICTION, ratio, what, mend="Remove 'good', 'bad' and 'total', or 'raw'.")
        return
    if _has(ratio, "rawType"):
        report.add(
            CONTRADICTION, _get(ratio, "rawType") or ratio, "'rawType' is for 'raw'", mend="Remove it."
        )
    _one_of(ratio, sides, ("good", "bad"), report, needed=True)
    _needed(ratio, "total", "'good' or 'bad'", report)


def _metrics(node: Node) -> Iterator[Node]:
    ratio = _get(node, "ratioMetric")
    sides = [_get(ratio, side) for side in ("good", "bad", "total", "raw")]
    yield from (one for one in (_get(node, "thresholdMetric"), *sides) if one is not None)


def _policy(node: Node, report: Report) -> None:
    told = ("alertWhenNoData", "alertWhenResolved", "alertWhenBreaching")
    if not any(_text(node, key) == "true" for key in told):
        report.add(
            MISSING_KEY, node, "the policy alerts of nothing", mend="Write 'alertWhenBreaching: true'."
        )
    for one in _items(_get(node, "conditions")):
        _inline(one, "conditionRef", "AlertCondition", report)
    for one in _items(_get(node, "notificationTargets")):
        _inline(one, "targetRef", "AlertNotificationTarget", report)


def _inline(node: Node, ref: str, kind: str, report: Report) -> None:
    if isinstance(node, Scalar):
        return
    whole = [key for key in ("kind", "metadata", "spec") if _has(node, key)]
    if _has(node, ref) == bool(whole):
        what = f"either '{ref}' or a whole {kind}"
        report.add(CONTRADICTION, node, what, mend=f"Write '{ref}: NAME' alone.")
    elif whole:
        for key in ("kind", "metadata", "spec"):
            _needed(node, key, f"an inline {kind}", report)
        check_metadata(_get(node, "metadata"), report)
        spec = _get(node, "spec")
        if spec is not None:
            check(kind, spec, report)


def _one_of(node: Node, given: list[str], wanted: tuple[str, str], report: Report, *, needed: bool) -> None:
    one, other = wanted
    if len(given) > 1:
        place = _get(node, given[1]) or node
        report.add(CONTRADICTION, place, f"'{one}' and '{other}' exclude each other", mend="Keep one.")
    elif needed and not given:
        report.add(MISSING_KEY, node, f"neither '{one}' nor '{other}' is here", mend=f"Add '{one}'.")


def _needed(node: Node, key: str, because: str, report: Report) -> None:
    if not _has(node, key):
        report.add(MISSING_KEY, node, f"'{key}' is missing, which {because} needs", mend=f"Add '{key}: ...'.")


def _get(node: Node | None, key: str) -> Node | None:
    return node.get(key) if isinstance(node, Mapping) else None


def _has(node: Node | None, key: str) -> bool:
    found = _get(node, key)
    return found is not None and not (isinstance(found, Scalar) and found.kind == "null")


def _text(node: Node | None, key: str) -> str:
    found = _get(node, key)
    return found.text if isinstance(found, Scalar) else ""


def _items(node: Node | None) -> tuple[Node, ...]:
    return node.items if isinstance(node, Items) else ()


def _number(node: Scalar) -> Any:
    return float(node.text) if node.kind in ("integer", "number") else None
