"""Prometheus' rule files: groups of recording and alerting rules, or every problem of the file.

What PromQL means is not known here: whoever reads a file brings the check of its expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from msgspec import Struct

from poise.model.rules import INTERVAL_S, Rule, RuleFile, RuleGroup
from poise.spec import limits
from poise.spec.document import Items, Mapping, Node, Place, Scalar, compose
from poise.spec.durations import parse_span
from poise.spec.keys_rules import RULE_FILE
from poise.spec.problems import (
    BAD_VALUE,
    CONTRADICTION,
    DECLARED_TWICE,
    EXPRESSION,
    MISSING_KEY,
    NO_FILE,
    TEMPLATE,
    TOO_LARGE,
    WRONG_TYPE,
    Problems,
    Report,
    shown,
)
from poise.spec.query import placed
from poise.spec.read import Document, plain, read_record
from poise.spec.template import parse_template
from poise.spec.template_text import TemplateFault

FOLDER_SIGNS: Final = "*?["
_SPANS: Final = ("interval", "query_offset", "for", "keep_firing_for")


class ExpressionFault(Struct, frozen=True, kw_only=True):
    """Why an expression cannot be a rule's, and at which character (0: nowhere in particular)."""

    what: str
    offset: int = 0
    mend: str = ""


class Glob(Struct, frozen=True):
    """An item of ``ruleFiles`` and where it stands."""

    pattern: str
    place: Place

    @property
    def folder(self) -> str:
        """The folder that it looks into; empty for the repository's root."""
        return self.pattern.rpartition("/")[0]


Check = Callable[[str], ExpressionFault | None]


def unchecked(_expression: str) -> ExpressionFault | None:
    """For whoever cannot read PromQL: everything passes."""
    return None


def parse_rules(text: str, *, project: str, path: str, check: Check = unchecked) -> RuleFile:
    """The groups of a rule file. Raises ``Problems`` (an ``Invalid``) with every problem."""
    report = Report(path)
    documents = compose(text, path)
    if len(documents) > 1:
        what = "a rule file is one document"
        report.add(TOO_LARGE, documents[1], what, mend="Put all groups under one 'groups:'.")
    groups: list[RuleGroup] = []
    if documents:
        found = read_record(RULE_FILE, documents[0], "the file", report)
        node = documents[0].get("groups") if isinstance(documents[0], Mapping) else None
        items = node.items if isinstance(node, Items) else ()
        _check_all(items, check, report)
        report.raise_if_any()
        assert found is not None  # whatever could not be read was a problem
        groups = [_group(one) for one in _listed(found.values.get("groups"))]
    report.raise_if_any()
    return RuleFile(project=project, path=path, groups=tuple(groups))


def globs_of(documents: Sequence[Document], report: Report) -> tuple[Glob, ...]:
    """``ruleFiles`` of the project, each with its place."""
    found = []
    for document in documents:
        node = document.spec.nodes.get("ruleFiles")
        for item in node.items if isinstance(node, Items) else (node,) if isinstance(node, Scalar) else ():
            if not isinstance(item, Scalar):
                continue
            parts = item.text.split("/")
            if item.text.startswith("/") or ".." in parts or "" in parts:
                what = f"{shown(item.text)} is no path within the repository"
                report.add(BAD_VALUE, item, what, mend="Write e.g. 'rules/*.yml'.")
            elif any(sign in part for part in parts[:-1] for sign in FOLDER_SIGNS):
                what = f"{shown(item.text)} looks into folders that it does not name"
                report.add(BAD_VALUE, item, what, mend="Name each folder; a '*' is for the file's name.")
            else:
                found.append(Glob(item.text, Place(item.line, item.column)))
    return tuple(found)


def read_rule_files(
    globs: Sequence[Glob],
    *,
    project: str,
    filename: str,
    listed: Callable[[str], Iterable[str]],
    read: Callable[[str], str],
    check: Check = unchecked,
) -> tuple[RuleFile, ...]:
    """Every file that the globs name. Raises ``Problems`` with those of all files.

    ``listed(folder)`` gives paths of the files directly in a folder, ``read(path)`` the text of one.
    """
    report = Report(filename)
    paths: dict[str, Glob] = {}
    for glob in globs:
        names = sorted(path for path in listed(glob.folder) if fnmatchcase(path, glob.pattern))
        if not names:
            what = f"no file {shown(glob.pattern)} in the repository"
            report.add(NO_FILE, glob.place, what, mend="Commit it, or mend the path.")
        paths.update({path: glob for path in names if path not in paths})
    if len(paths) > limits.RULE_FILES:
        place = list(paths.values())[limits.RULE_FILES].place
        report.add(TOO_LARGE, place, f"more than {limits.RULE_FILES} rule files", mend="Join some.")
        paths = dict(list(paths.items())[: limits.RULE_FILES])
    problems: list[Any] = []
    made = []
    try:
        report.raise_if_any()
    except Problems as error:
        problems += error.problems
    for path in sorted(paths):
        try:
            made.append(parse_rules(read(path), project=project, path=path, check=check))
        except Problems as error:
            problems += error.problems
    if problems:
        raise Problems(problems[: limits.PROBLEMS])
    return tuple(made)


# -- what single keys cannot say ------------------------------------------------------------------


def _check_all(items: Sequence[Node], check: Check, report: Report) -> None:
    names: dict[str, Scalar] = {}
    for group in items:
        if not isinstance(group, Mapping):
            continue
        _check_spans(group, report)
        name = group.get("name")
        if isinstance(name, Scalar):
            if not name.text:
                report.add(BAD_VALUE, name, "a group needs a name", mend="Write e.g. 'name: latency'.")
            if (first := names.setdefault(name.text, name)) is not name:
                what = f"the group {shown(name.text)} is declared twice"
                why = f"It is already on line {first.line}."
                report.add(DECLARED_TWICE, name, what, why=why, mend="Rename one of the two.")
        rules = group.get("rules")
        for rule in rules.items if isinstance(rules, Items) else ():
            if isinstance(rule, Mapping):
                _check_rule(rule, check, report)


def _check_spans(node: Mapping, report: Report) -> None:
    for key, value in node.entries:
        if key.text in _SPANS and isinstance(value, Scalar) and value.kind != "null":
            found = parse_span(value.text)
            if found is None:
                what = f"'{key.text}': {shown(value.text)} is not a duration"
                mend = "Use e.g. '30s', '5m', '1h30m'."
                report.add(WRONG_TYPE, value, what, mend=mend)
            elif found > limits.DURATION_S:
                report.add(BAD_VALUE, value, f"'{key.text}' is longer than 366d", mend="Shorten it.")


def _check_rule(rule: Mapping, check: Check, report: Report) -> None:
    _check_spans(rule, report)
    record, alert, expr = rule.get("record"), rule.get("alert"), rule.get("expr")
    if record is None and alert is None:
        mend = "Add 'record: name' or 'alert: Name'."
        report.add(MISSING_KEY, rule, "a rule either records or alerts", mend=mend)
    elif record is not None and alert is not None:
        what = "a rule cannot both record and alert"
        report.add(CONTRADICTION, alert, what, mend="Make two rules of it.")
    elif record is not None:
        for key in ("for", "keep_firing_for", "annotations"):
            if (node := rule.get(key)) is not None:
                what = f"'{key}' has no meaning for a recording rule"
                report.add(CONTRADICTION, _key_of(rule, key) or node, what, mend=f"Remove '{key}'.")
    elif isinstance(alert, Scalar) and not alert.text:
        report.add(BAD_VALUE, alert, "an alert needs a name", mend="Write e.g. 'alert: HighLatency'.")
    if isinstance(expr, Scalar):
        _check_expression(expr, check, report)
    if alert is not None:
        for part in ("labels", "annotations"):
            node = rule.get(part)
            for _, value in node.entries if isinstance(node, Mapping) else ():
                if isinstance(value, Scalar):
                    _check_template(value, report)
    labels = rule.get("labels")
    for name, _ in labels.entries if isinstance(labels, Mapping) else ():
        if name.text in ("__name__", "alertname") and (alert is not None or name.text == "__name__"):
            what = f"the label {shown(name.text)} is set by the rule itself"
            report.add(CONTRADICTION, name, what, mend="Remove it.")


def _check_expression(node: Scalar, check: Check, report: Report) -> None:
    if not node.text.strip():
        report.add(MISSING_KEY, node, "'expr' is empty", mend="Write PromQL, e.g. 'up == 0'.")
        return
    fault = check(node.text)
    if fault is not None:
        place = placed(node, node.text, fault.offset)
        report.add(EXPRESSION, place, f"'expr': {fault.what}", mend=fault.mend)


def _check_template(node: Scalar, report: Report) -> None:
    try:
        parse_template(node.text)
    except TemplateFault as fault:
        place = placed(node, node.text, fault.offset)
        report.add(TEMPLATE, place, f"the template cannot be read: {fault.what}", mend=fault.mend)


def _key_of(node: Mapping, name: str) -> Scalar | None:
    return next((key for key, _ in node.entries if key.text == name), None)


# -- records --------------------------------------------------------------------------------------


def _listed(value: object) -> list[dict[str, Any]]:
    items = plain(value) if isinstance(value, list) else []
    return [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []


def _group(values: dict[str, Any]) -> RuleGroup:
    return RuleGroup(
        name=values["name"],
        interval_s=_seconds(values, "interval") or INTERVAL_S,
        limit=values.get("limit", 0),
        query_offset_s=_seconds(values, "query_offset"),
        labels=values.get("labels", {}),
        rules=tuple(_rule(one) for one in values.get("rules", ())),
    )


def _rule(values: dict[str, Any]) -> Rule:
    return Rule(
        record=values.get("record", ""),
        alert=values.get("alert", ""),
        expr=values["expr"].strip(),
        for_s=_seconds(values, "for"),
        keep_firing_for_s=_seconds(values, "keep_firing_for"),
        labels=values.get("labels", {}),
        annotations=values.get("annotations", {}),
    )


def _seconds(values: dict[str, Any], key: str) -> float:
    return parse_span(values.get(key, "")) or 0.0
