"""What is scraped, out of documents of kind ScrapeConfig and out of Prometheus configurations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import re2  # type: ignore[import-untyped]
from msgspec import Struct, convert, structs

from poise.model.scrape import Access, RelabelAction, ScrapeConfig
from poise.spec import limits
from poise.spec.document import Items, Node, Place, Scalar, compose
from poise.spec.document import Mapping as MappingNode
from poise.spec.durations import format_duration, parse_span
from poise.spec.keys_scrape import ELSEWHERE, PROMETHEUS, PROMETHEUS_JOB, TARGET_GROUPS
from poise.spec.problems import (
    BAD_VALUE,
    CONTRADICTION,
    DECLARED_TWICE,
    EXPRESSION,
    MISSING_KEY,
    TOO_LARGE,
    UNKNOWN_NAME,
    WRONG_TYPE,
    Problems,
    Report,
    nearest,
    shown,
)
from poise.spec.read import UNREAD, Document, Found, ServiceDocument, plain, read, read_record

ReadFile = Callable[[str], str | None]  # a file of the repository by its path; None where there is none
Values = Mapping[str, Any]

DEFAULT: Final = ScrapeConfig(name="")
_ACCESS: Final = frozenset(Access.__struct_fields__)
_TARGET_LABEL: Final = re.compile(
    r"(?:[A-Za-z_]|\$\{?[0-9A-Za-z_]+\}?)(?:[A-Za-z0-9_]|\$\{?[0-9A-Za-z_]+\}?)*"
)
_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SIZE: Final = re.compile(r"([0-9]+)([KMGT]?)i?B")
_NAMING: Final = ("static_configs", "_sd_configs")  # also those that are refused: one problem is enough
_WRITES: Final = ("replace", "hashmod", "keepequal", "dropequal", "lowercase", "uppercase")


class Scrapes(Struct, frozen=True, kw_only=True):
    """What a ``poise.yaml`` has scraped, and what of the named files has no effect here."""

    configs: tuple[ScrapeConfig, ...] = ()
    notes: tuple[str, ...] = ()


class _Job(Struct, frozen=True, kw_only=True):
    """One job as read; ``defaults`` are those of its file."""

    name: str
    place: Node
    found: Found
    defaults: Values
    report: Report


def scrapes_of(
    documents: Sequence[Document],
    projects: Sequence[Document],
    services: Sequence[ServiceDocument],
    file: ReadFile | None,
    report: Report,
) -> Scrapes:
    """Every scrape configuration of a file and of the files it names.

    Without ``file`` named files are not opened, and what they hold is left out.
    """
    jobs = [
        _Job(name=one.name, place=one.place, found=one.spec, defaults={}, report=report) for one in documents
    ]
    notes: list[str] = []
    for project in projects if file is not None else ():
        assert file is not None
        for path, place in _paths(project.spec):
            found, told = _of_file(path, place, file, report)
            jobs += found
            notes += told
    names: set[str] = set()
    made = []
    for job in jobs:
        if job.name in names:
            what = f"the job {shown(job.name)} is declared twice"
            job.report.add(DECLARED_TWICE, job.place, what, mend="Rename one of the two.")
        names.add(job.name)
        before = len(report)
        _check(job, services)
        config = _config(job, file)
        if config is not None and len(report) == before:
            made.append(config)
    if len(jobs) > limits.SCRAPES:
        last = jobs[limits.SCRAPES]
        what = f"more than {limits.SCRAPES} scrape configurations"
        last.report.add(TOO_LARGE, last.place, what, mend="Remove some.")
    return Scrapes(configs=tuple(made), notes=tuple(notes))


# -- files ----------------------------------------------------------------------------------------


def _paths(project: Found) -> Iterable[tuple[str, Node]]:
    node = project.nodes.get("scrapeConfigs")
    for item in node.items if isinstance(node, Items) else ():
        if isinstance(item, Scalar) and item.text in (project.values.get("scrape_files") or ()):  # type: ignore[operator]
            yield item.text.removeprefix("./"), item


def _of_file(path: str, place: Node, file: ReadFile, report: Report) -> tuple[list[_Job], list[str]]:
    text = file(path)
    if text is None:
        what = f"no file {shown(path)} in the repository"
        report.add(UNKNOWN_NAME, place, what, mend="Commit it, or correct the path.")
        return [], []
    own = report.of(path)
    nodes = _composed(text, path, own)
    if nodes is None:
        return [], []
    if len(nodes) != 1:
        own.add(WRONG_TYPE, Place(), "a Prometheus configuration is one document", mend="Keep one.")
        return [], []
    whole = read_record(PROMETHEUS, nodes[0], "the configuration", own)
    if whole is None:
        return [], []
    notes = [
        f"{path}:{key.line}:{key.column} '{key.text}' has no effect here. {ELSEWHERE[key.text]}"
        for key, _ in whole.node.entries
        if key.text in ELSEWHERE
    ]
    defaults = whole.values.get("global")
    section = whole.node.get("scrape_configs")
    return [
        _Job(name=name, place=found.at("job_name"), found=found,
             defaults=defaults if isinstance(defaults, dict) else {}, report=own)
        for node in (section.items if isinstance(section, Items) else ())
        if isinstance(node, MappingNode)
        # read a second time for its places: what is wrong was told the first time, and is told once
        if (found := read_record(PROMETHEUS_JOB, node, "a job", own)) is not None
        if (name := found.text("name")) is not None
    ], notes  # fmt: skip


def _composed(text: str, path: str, report: Report) -> tuple[Node, ...] | None:
    """The documents of a file, or None after what is wrong with it went to the report."""
    try:
        return compose(text, path)
    except Problems as error:
        report.take(error)
        return None


# -- a job ----------------------------------------------------------------------------------------


def _config(job: _Job, file: ReadFile | None) -> ScrapeConfig | None:
    """The job as it is scraped; None after what is wrong with it went to the report."""
    own = _values(plain(job.found))
    values = {**job.defaults, **own}
    every = _seconds(values, "every_s", DEFAULT.every_s)
    timeout = _seconds(values, "timeout_s", DEFAULT.timeout_s)
    if every is None or timeout is None or every < 1 or timeout <= 0:
        what = "an interval is at least 1s, and a time-out is longer than nothing"
        job.report.add(BAD_VALUE, job.found.at("scrape_interval", "scrape_timeout"), what, mend="Write 15s.")
        return None
    if timeout > every and "timeout_s" in own:
        what = f"the time-out ({timeout:g}s) is longer than the interval ({every:g}s)"
        job.report.add(CONTRADICTION, job.found.at("scrape_timeout"), what, mend="Shorten it.")
        return None
    values |= {"name": job.name, "every_s": every, "timeout_s": min(timeout, every)}
    values |= {"access": _access(values), "body_bytes": _bytes(values.get("body_bytes"))}
    values.setdefault("job", job.name)
    values["http"] = [
        {**one, "refresh_s": _refresh(one, 60.0, job), "access": _access(one)}
        for one in values.get("http", ())
    ]
    _files(job, values, file)
    return None if job.report else convert(values, ScrapeConfig)  # a required key may be missing


def _refresh(values: Values, otherwise: float, job: _Job) -> float:
    found = _seconds(values, "refresh_s", otherwise)
    if found is None or found < 1:
        what = f"{shown(str(values['refresh_s']))} is no interval of at least 1s"
        place = job.found.at("http_sd_configs", "file_sd_configs")
        job.report.add(BAD_VALUE, place, what, mend="Write 60s.")
    return found or otherwise


def _values(value: object) -> dict[str, Any]:
    assert isinstance(value, dict)  # a record is always one
    return value


def _seconds(values: Values, name: str, otherwise: float) -> float | None:
    return parse_span(str(values[name])) if name in values else otherwise


def _access(values: Values) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in _ACCESS}


def _bytes(text: object) -> int:
    """A size in bytes; the default where there is none, and where it is 0."""
    found = _SIZE.fullmatch(str(text)) if text else None
    return (int(found[1]) * _UNITS[found[2]] if found else 0) or DEFAULT.body_bytes


def _files(job: _Job, values: dict[str, Any], file: ReadFile | None) -> None:
    """Target files of the repository are read now, those of the server's disk at each look."""
    elsewhere = []
    for place, one in enumerate(values.get("files", ())):
        there = [path for path in one.get("files", ()) if path.startswith("/")]
        if there:
            elsewhere.append({"files": there, "refresh_s": _refresh(one, 300.0, job)})
        for path in one.get("files", ()):
            if not path.startswith("/") and file is not None:
                node = _item(job.found, "file_sd_configs", place)
                values["static"] = [*values.get("static", ()), *_groups(path, node, file, job.report)]
    values["files"] = elsewhere


def _groups(path: str, place: Node, file: ReadFile, report: Report) -> list[dict[str, Any]]:
    text = None if "*" in path else file(path)
    if text is None:
        what = f"no file {shown(path)} in the repository"
        mend = "Commit it; files of the server's disk are named from '/', and there '*' may stand in them."
        report.add(UNKNOWN_NAME, place, what, mend=mend)
        return []
    own = report.of(path)
    nodes = _composed(text, path, own) or ()
    groups = read(TARGET_GROUPS, nodes[0], "the file", own) if nodes else UNREAD
    if not isinstance(groups, list):
        return []
    return [
        {**one, "labels": {"__meta_filepath": path, **one.get("labels", {})}}
        for one in map(_values, map(plain, groups))
    ]


# -- what no single key can say ---------------------------------------------------------------------


def _check(job: _Job, services: Sequence[ServiceDocument]) -> None:
    found, report = job.found, job.report
    if not any(key.text == "services" or key.text.endswith(_NAMING) for key, _ in found.node.entries):
        mend = "Add 'static_configs', 'file_sd_configs' or 'http_sd_configs'."
        report.add(MISSING_KEY, job.place, f"the job {shown(job.name)} has no targets", mend=mend)
    ways = [key for key in ("basic_auth", "authorization", "bearer_token") if key in found.nodes]
    if len(ways) > 1:
        what = f"a target is told who asks in one way, not by {' and '.join(repr(way) for way in ways)}"
        report.add(CONTRADICTION, found.at(ways[1]), what, mend="Keep one.")
    files = [key for key in ("cert_file", "key_file") if f"tls_config.{key}" in found.nodes]
    if len(files) == 1:
        what = "a certificate of ours needs both 'cert_file' and 'key_file'"
        report.add(CONTRADICTION, found.at(f"tls_config.{files[0]}"), what, mend="Name both.")
    _check_services(job, services)
    for key in ("relabel_configs", "metric_relabel_configs"):
        values = found.values.get("relabel" if key == "relabel_configs" else "metric_relabel")
        for place, rule in enumerate(values if isinstance(values, list) else ()):
            _check_rule(_values(plain(rule)), _item(found, key, place), report)


def _check_services(job: _Job, services: Sequence[ServiceDocument]) -> None:
    known = {one.name: one.has_port for one in services}
    node = job.found.nodes.get("services")
    for item in node.items if isinstance(node, Items) else ():
        name = item.text if isinstance(item, Scalar) else ""
        if name not in known:
            what = f"no service {shown(name)} in this file"
            job.report.add(UNKNOWN_NAME, item, what, mend=nearest(name, known))
        elif not known[name]:
            what = f"service {shown(name)} has no port to scrape"
            job.report.add(BAD_VALUE, item, what, mend="Give it a port, or remove it here.")


def _check_rule(rule: Values, node: Node, report: Report) -> None:
    action = RelabelAction(rule.get("action", "replace"))
    try:
        options = re2.Options()
        options.log_errors = False
        re2.compile(f"^(?s:{rule.get('regex', '')})$", options)
    except re2.error as error:
        what = f"the expression cannot be read: {error}"
        report.add(EXPRESSION, _at(node, "regex"), what, mend="See github.com/google/re2/wiki/Syntax")
    target = rule.get("target_label", "")
    if action in _WRITES and not target:
        what = f"action {action.value} needs 'target_label'"
        report.add(MISSING_KEY, node, what, mend="Add 'target_label: NAME'.")
    elif target and not _TARGET_LABEL.fullmatch(target):
        what = f"{shown(target)} is no label's name"
        report.add(BAD_VALUE, _at(node, "target_label"), what, mend="Use letters, digits and underscores.")
    if action is RelabelAction.HASH_MOD and "modulus" not in rule:
        report.add(MISSING_KEY, node, "action hashmod needs 'modulus'", mend="Add 'modulus: 8'.")


def _item(found: Found, key: str, place: int) -> Node:
    """The node of an item of a list, else of the list."""
    node = found.at(key)
    return node.items[place] if isinstance(node, Items) and place < len(node.items) else node


def _at(node: Node, key: str) -> Node:
    found = node.get(key) if isinstance(node, MappingNode) else None
    return found if found is not None else node


def scrape_words(config: ScrapeConfig) -> list[tuple[str, str, str]]:
    """What is in force for a job, as rows of field, value, and ``declared`` or ``default``."""
    bare = ScrapeConfig(name=config.name, job=config.name)
    rows = []
    for name in config.__struct_fields__[1:]:
        value = getattr(config, name)
        source = "default" if value == getattr(bare, name) else "declared"
        text = format_duration(value) if name.endswith("_s") else _shown(value)
        rows.append((_WORDS.get(name, name), text, source))
    return rows


_WORDS: Final = {
    "job": "job_name", "static": "static_configs", "http": "http_sd_configs",
    "files": "file_sd_configs", "path": "metrics_path", "every_s": "scrape_interval",
    "timeout_s": "scrape_timeout", "relabel": "relabel_configs", "metric_relabel": "metric_relabel_configs",
    "body_bytes": "body_size_limit",
}  # fmt: skip


def _shown(value: object) -> str:
    match value:
        case () | "":
            return "none"
        case dict() if not value:  # a pattern {} would take every mapping
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            return "; ".join(_shown(one) for one in value)
        case dict():
            return ", ".join(f"{name}={_shown(one)}" for name, one in value.items())
        case Struct():
            given = structs.asdict(value)
            return ", ".join(f"{name}={_shown(one)}" for name, one in given.items() if one) or "none"
        case float():
            return f"{value:g}"
    return str(value)
