"""What becomes of pushed branches that nothing is released from, told to the person who pushes.

Nothing of it refuses a push: work that is half done is pushed too. The run's own plan is asked, so that
what is told here is what `poise previews` and the run's page say later.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from msgspec import Struct

from poise.adapters.git import pushed
from poise.adapters.git.standing import Standing
from poise.delivery.pipeline.decide import Planned
from poise.delivery.pipeline.plan import Sources, planned
from poise.model.errors import PoiseError
from poise.model.service import Previews
from poise.spec.previews import gets_preview
from poise.spec.service import parse_project

TOLD_MAX: Final = 5  # branches of one push: who mirrors a repository reads no more


class Branch(Struct, frozen=True, kw_only=True):
    """A branch as it is pushed; ``is_new``: it was not there before."""

    name: str
    commit: str
    is_new: bool = False


def remarks(lines: Sequence[Sequence[str]], standing: Standing | None) -> Iterator[str]:
    """A remark for each pushed branch of ``<old> <new> <ref>`` that has something to be told of.

    ``standing`` is what is on record; None where nobody told.
    """
    branches = {
        ref.removeprefix("refs/heads/"): Branch(
            name=ref.removeprefix("refs/heads/"), commit=new, is_new=pushed.is_none(old)
        )
        for old, new, ref in lines
        if ref.startswith("refs/heads/") and not pushed.is_none(new)
    }
    head = pushed.head()
    if set(branches) <= {head}:
        return
    now = _standing(head, branches, standing)
    others = [one for name, one in branches.items() if name not in (head, now.branch)]
    released = branches[now.branch].commit if now.branch in branches else _commit(now.branch)
    for one in others[:TOLD_MAX]:
        with suppress(PoiseError, subprocess.TimeoutExpired):  # what cannot be read is told by its run
            yield from _told(one, now, released)
    if len(others) > TOLD_MAX:
        yield f"{len(others) - TOLD_MAX} more branches were pushed. See: poise previews"


def _standing(head: str, branches: Mapping[str, Branch], standing: Standing | None) -> Standing:
    """What is pushed along with it counts before what is on record, and that before what was pushed last."""
    base = standing.branch if standing is not None else head
    if standing is not None and base not in branches:
        return standing
    with suppress(PoiseError):  # e.g. it declares nothing
        commit = branches[base].commit if base in branches else _commit(base)
        text = pushed.read(commit, pushed.DECLARATIONS)
        project = parse_project(text, project=pushed.project()).project
        return Standing(branch=project.branch, previews=project.previews)
    return standing or Standing(branch=head, previews=Previews())


def _told(one: Branch, now: Standing, released: str) -> Iterator[str]:
    """What becomes of a branch; of one that has nothing to do with previews, only when it is new."""
    if gets_preview(now.previews, one.name):
        yield _shown(one, now, released)
        return
    plan = planned(_sources(one.commit, declares=False), pushed.project(), one.name)
    if plan.problem:
        yield _fails(f"the run of {one.name} will fail", plan.problem)
    if not released:
        yield (
            f"nothing of {one.name} is released, and it has no preview: {now.branch} is not pushed yet, and "
            f"its {pushed.DECLARATIONS} says what is. Push that first, then a new commit of {one.name}; or, "
            f"if this is what you release: git push poise {one.name}:{now.branch}"
        )
        yield from _declared_badly(one, now)
    elif one.is_new:
        patterns = ", ".join(now.previews.branches)
        why = f"previews are declared for {patterns}" if patterns else "the project declares no previews"
        yield f"{one.name} is built, not released (that is {now.branch}), and has no preview: {why}"


def _shown(one: Branch, now: Standing, released: str) -> str:
    """Of a branch that fits: which services are looked at, or why none will be."""
    none = f"{one.name} has no preview"
    if one.commit == released:
        return f"{none}: it is where {now.branch} is. A commit of its own brings one"
    plan: Planned = planned(_sources(one.commit), pushed.project(), one.name, now.previews)
    if plan.problem:
        return _fails(f"the preview of {one.name} will fail", plan.problem)
    if not plan.previews:
        only = f" that 'previews' names ({', '.join(now.previews.services)})" if now.previews.services else ""
        return f"{none}: its {pushed.DECLARATIONS} declares no service with a port{only}"
    return f"{one.name} gets a preview of {', '.join(plan.previews)} once it is built. See: poise previews"


def _declared_badly(one: Branch, now: Standing) -> Iterator[str]:
    text = _sources(one.commit).declarations
    try:
        if text is not None:
            parse_project(text, project=pushed.project())
    except PoiseError as error:
        yield _fails(f"{pushed.DECLARATIONS} of {one.name} would be refused on {now.branch}", str(error))


def _fails(what: str, problem: str) -> str:
    return "\n  ".join((f"{what}; it is pushed all the same.", *problem.splitlines()))


def _sources(commit: str, *, declares: bool = True) -> Sources:
    """What a run of the commit is planned from."""
    found = {path: pushed.read(commit, path) for path in pushed.files(commit)}
    text = found.pop(pushed.DECLARATIONS, None)
    return Sources(workflows=found, declarations=text if declares else None)


def _commit(branch: str) -> str:
    """A branch's commit before this push; empty where it is not there."""
    done = pushed.attempt("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}")
    return done.stdout.decode().strip() if done.returncode == 0 else ""
