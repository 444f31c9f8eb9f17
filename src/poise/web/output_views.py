"""What the page of logs shows."""

from __future__ import annotations

from msgspec import Struct

from poise.model.output import OutputPage
from poise.web.views import Chrome


class OutputView(Struct, frozen=True, kw_only=True):
    """The output of a service or of a run, and what was asked of it.

    ``asked``: the fields of the form as they were sent (grep, i, since, until, replica, job, step, context,
    line). ``problem``: why nothing could be searched. ``stream``: what follows; empty when nothing does.
    """

    chrome: Chrome
    name: str
    title: str
    back: tuple[str, str]
    here: str
    asked: dict[str, str]
    page: OutputPage
    choices: tuple[str, ...] = ()
    choice: str = "replica"
    stream: str = ""
    problem: str = ""
    mend: str = ""
