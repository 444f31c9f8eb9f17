"""Logs: what replicas and steps print: searched, merged by time, followed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from cyclopts import Parameter
from msgspec import Struct

from poise.cli import output
from poise.cli.client import Client
from poise.cli.observe import service_path
from poise.cli.place import COMMON, Common, project_of, service_key
from poise.cli.plot import COLOURS
from poise.model.errors import Invalid, NotFound, Unreachable
from poise.model.output import OutputLine, OutputPage

RECONNECT_S: Final = 1.0
AWAY_MAX_S: Final = 300.0
"""For so long a follower waits for a server that is away; replicas go on printing meanwhile."""


class _News(Struct, frozen=True):
    items: tuple[OutputLine, ...]
    cursor: str
    skipped_bytes: int = 0


def logs(
    what: str | None = None,
    n: Annotated[int | None, Parameter(help="With 'run': the number of a pipeline run.")] = None,
    place: Annotated[str | None, Parameter(help="With 'run': JOB or JOB/STEP.")] = None,
    *,
    since: Annotated[str | None, Parameter(help="From then: 10m, or 2026-03-01T12:00:00Z.")] = None,
    until: Annotated[str | None, Parameter(help="Until then, likewise.")] = None,
    grep: Annotated[str | None, Parameter(name=("--grep", "-g"), help="An RE2 expression.")] = None,
    ignore_case: Annotated[bool, Parameter(name=("--ignore-case", "-i"), negative="")] = False,
    context: Annotated[int, Parameter(name=("--context", "-C"), help="Lines around each.")] = 0,
    replica: Annotated[str | None, Parameter(help="0, or 12-0 of rollout 12.")] = None,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"), negative="")] = False,
    tail: Annotated[int, Parameter(name=("--tail", "--lines", "-n"), help="The newest so many.")] = 100,
    times: Annotated[bool, Parameter(name=("--times", "-t"), negative="")] = False,
    run: Annotated[int | None, Parameter(help="As 'run N'.")] = None,
    common: Common = COMMON,
) -> None:
    """Output of a service's replicas, the dead ones too, merged by time; or of a pipeline run.

    Parameters
    ----------
    what
        A service, or 'run' with the number of a pipeline run.
    times
        When each line was on record; ~ marks one that may have been written up to a second or more earlier.
    """
    asked = {
        "since": since, "until": until, "grep": grep, "ignore_case": ignore_case or None,
        "context": context or None, "tail": tail, "replica": replica,
    }  # fmt: skip
    path = _path(what, run if run is not None else n, place, asked, common)
    search = f"{path}/search" if "job" in asked else path
    shown = _Shown(common, times)
    with Client(common) as client:
        page = client.get(search, OutputPage, follow=follow or None, **asked)
        shown.lines(page.items)
        if page.shortened:
            output.talk(common, page.shortened)
        if not page.items and not follow:
            output.talk(common, _nothing(page, asked))
        if follow:
            only = {name: asked.get(name) for name in ("grep", "ignore_case", "replica", "job", "step")}
            _follow(client, f"{path}/stream", page.cursor, only, shown)


def _path(what: str | None, n: int | None, place: str | None, asked: dict[str, Any], common: Common) -> str:
    """The API's path of a log; the job and step are added to what is asked."""
    if n is not None and what in (None, "run"):
        if asked.pop("replica") is not None:
            raise Invalid("POISE-E213", "a run has no replicas", mend="Name a job: poise logs run 1 build")
        asked["job"], _, asked["step"] = (place or "").partition("/")
        return f"/api/v1/projects/{quote(project_of(common), safe='')}/runs/{n}/log"
    if what is None or what == "run" or n is not None:
        raise NotFound("POISE-E203", "name a service or a run", mend="poise logs shop, or poise logs run 1")
    return service_path(service_key(common, what)) + "/log"


def _nothing(page: OutputPage, asked: dict[str, Any]) -> str:
    if not page.sources:
        return "Nothing was printed here."
    searched = f"{page.searched_bytes / 2**20:,.1f} MiB of {len(page.sources)} files"
    if asked["grep"]:
        return f"No line matches; searched {searched}."
    return "No line in this time." if asked["since"] or asked["until"] else "Nothing was printed here."


class _Shown:
    """Prints lines, each with its replica or step before it, in a colour of its own on a terminal."""

    def __init__(self, common: Common, times: bool) -> None:
        self.common, self._times = common, times
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._known: dict[str, int] = {}

    def lines(self, items: Iterable[OutputLine]) -> None:
        for line in items:
            if self.common.json:
                output.data(line)
            else:
                output.say(self._text(line))
        sys.stdout.flush()

    def _text(self, line: OutputLine) -> str:
        source = line.source
        if self._colour:
            place = self._known.setdefault(source, len(self._known))
            source = f"\x1b[{COLOURS[place % len(COLOURS)]}m{source}\x1b[0m"
        more = f" … {line.cut_chars:,} characters more" if line.cut_chars else ""
        return f"{source} {'-' if line.is_context else '|'} {self._when(line)}{line.text}{more}"

    def _when(self, line: OutputLine) -> str:
        if not self._times or line.at is None:
            return ""
        exact = line.earlier_s is not None and line.earlier_s < 1
        return f"{line.at:%Y-%m-%dT%H:%M:%S}.{line.at.microsecond // 1000:03d}Z{'' if exact else '~'} "


def _follow(client: Client, path: str, cursor: str, only: dict[str, Any], shown: _Shown) -> None:
    """Lines as they come, over a server that restarts too: the cursor says what was shown."""
    away_since: float | None = None
    while True:
        try:
            for event, raw in client.lines(path, cursor=cursor, **only):
                away_since = None
                if event == "end":
                    output.talk(shown.common, f"run: {raw}")
                    return
                news = msgspec.json.decode(raw, type=_News)
                cursor = news.cursor
                if news.skipped_bytes:
                    mib = news.skipped_bytes / 2**20
                    output.talk(shown.common, f"… {mib:,.1f} MiB came too fast to be shown: search for them.")
                shown.lines(news.items)
        except Unreachable:
            now = time.monotonic()
            away_since = away_since if away_since is not None else now
            if now - away_since > AWAY_MAX_S:
                raise
        time.sleep(RECONNECT_S)
