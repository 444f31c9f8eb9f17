"""``poise demo``: the whole loop on a small shop, with what users have: git, the command line, HTTP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from poise.cli import output
from poise.cli.place import COMMON, Common


def demo(
    *,
    report: Annotated[Path | None, Parameter(help="Write the measured facts to this file, as JSON.")] = None,
    keep: Annotated[bool, Parameter(negative="", help="Leave the house running afterwards.")] = False,
    common: Common = COMMON,
) -> int:
    """Deliver, observe, promote, protect, heal, balance and audit, each measured from outside.

    Plays in a temporary folder on free ports and ends what it started. Exit 1 when a stage does not show
    what it promises.
    """
    import msgspec

    from poise.cli.story.play import play

    told = play(keep=keep, quiet=common.quiet)
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
