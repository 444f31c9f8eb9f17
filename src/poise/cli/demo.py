"""``poise demo``: the whole loop on a small shop, with what users have: git, the command line, HTTP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from poise.cli import output
from poise.cli.place import COMMON, Common
from poise.cli.story.mischief import Mischief

demo = App(name="demo", help="The whole loop on a small shop, live.")


@demo.default
def play(
    *,
    report: Annotated[
        Path | None, Parameter(help="Write the measured facts here, as JSON; the post-mortem beside.")
    ] = None,
    keep: Annotated[bool, Parameter(negative="", help="Leave the house running afterwards.")] = False,
    common: Common = COMMON,
) -> int:
    """Deliver, observe, promote, protect, heal, scale, respond, review, balance, improve and audit.

    Each is measured from outside, as a user would.

    Plays in a temporary folder on free ports and ends what it started. Exit 1 when a stage does not show
    what it promises.
    """
    import msgspec

    from poise.cli.story import play as story

    told = story.play(keep=keep, quiet=common.quiet, writes_to=report.parent if report else None)
    if report is not None:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")
    if common.json:
        output.data(told)
    if told.ok:
        output.talk(common, f"All {len(told.stages)} stages are ok, in {told.total_s:.0f} s.")
        return 0
    failed = told.stages[-1]
    print(f"Stage {failed.name} failed: {failed.facts.get('reason', '')}", file=sys.stderr)
    return 1


@demo.command(name="break")
def break_(
    what: Mischief,
    *,
    seconds: Annotated[float, Parameter(name="--for", help="How many seconds to watch.")] = 60.0,
    common: Common = COMMON,
) -> None:
    """Break a demo that was kept running, with shoppers in it, and watch what Poise does."""
    from poise.cli.story import mischief

    told = mischief.do(what, seconds, common.quiet or common.json)
    if common.json:
        return output.data(told)
    output.say(
        f"{told.requests} requests, {told.failed_requests} failed, {told.app_errors} errors of the app; "
        f"{len(told.events)} events in {told.seconds:g} s."
    )
    return None
