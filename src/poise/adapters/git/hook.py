"""The pre-receive hook: a push whose declarations or workflows cannot be accepted is refused whole.

git runs it in the bare repository with ``<old> <new> <ref>`` lines on standard input and the new objects
in quarantine; what it prints reaches the person who pushes. It judges the branch that HEAD names and the one
that is released; of the others ``branches`` says what becomes of them, and refuses none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from poise.adapters.git import pushed
from poise.adapters.git.standing import Standing, heard
from poise.model.errors import Invalid, PoiseError

if TYPE_CHECKING:
    from poise.model.service import Service
    from poise.spec.rules import Glob
    from poise.spec.service import Declared

PROBLEMS: Final = 20


def main() -> int:
    """0 lets the push in."""
    try:
        lines = [line.rstrip("\n").split(" ", 2) for line in sys.stdin]
        standing = heard()
        problems: list[PoiseError] = [*kept(lines)]
        released = {pushed.head(), *([standing.branch] if standing else [])}
        problems += [problem for commit in _judged(lines, released) for problem in judge(commit)]
        if not problems:
            _remark(lines, standing)
    except PoiseError as error:
        problems = [error]
    for problem in problems[:PROBLEMS]:
        sys.stderr.write(f"\n{problem.code} {problem.what}\n")
        for label, part in (("where", problem.where), ("why", problem.why), ("mend", problem.mend)):
            if part:
                sys.stderr.write(f"  {label}: {part}\n")
    if problems:
        sys.stderr.write("\nNothing was applied. Mend it, commit, and push again.\n")
    return 1 if problems else 0


def _remark(lines: Sequence[Sequence[str]], standing: Standing | None) -> None:
    """Imported here: most pushes are of the released branch alone."""
    released = f"refs/heads/{pushed.head()}"
    if any(ref.startswith("refs/heads/") for *_, ref in lines if ref != released):
        from poise.adapters.git.branches import remarks

        for remark in remarks(lines, standing):
            sys.stderr.write(f"note: {remark}\n")


def judge(commit: str) -> Iterable[PoiseError]:
    """Every problem of a commit's ``poise.yaml``, of the files it names, and of its workflow files."""
    for path in pushed.files(commit):
        error = _refusal(commit, path, pushed.read(commit, path))
        if error is not None:
            yield from getattr(error, "problems", (error,))  # a file tells all its problems at once


def _refusal(commit: str, path: str, text: str) -> PoiseError | None:
    """The error that ``spec`` raises for a file, if any. Imported here: most pushes need only one."""
    try:
        if path.startswith(pushed.WORKFLOWS):
            from poise.spec.workflow import parse_workflow

            parse_workflow(text, filename=path)
        else:
            from poise.spec.service import parse_project

            declared = parse_project(
                text, project=pushed.project(), filename=path, file=partial(pushed.named, commit)
            )
            for note in declared.notes:
                sys.stderr.write(f"note: {note}\n")
            if declared.rule_globs:
                _check_rules(commit, declared.rule_globs, path)
            _check_hosts(declared, path)
    except PoiseError as error:
        return error
    return None


def _check_rules(commit: str, globs: Sequence[Glob], filename: str) -> None:
    """Raise ``Problems`` with those of every rule file."""
    from poise.adapters.promql.checking import expression_fault
    from poise.spec.rules import read_rule_files

    read_rule_files(
        globs,
        project=pushed.project(),
        filename=filename,
        listed=lambda folder: pushed.listed(commit, f"{folder}/" if folder else ""),
        read=lambda path: pushed.read(commit, path),
        check=expression_fault,
    )


def _check_hosts(declared: Declared, filename: str) -> None:
    """Raise for a host name that the ``poise.yaml`` of a repository beside this one has."""
    from poise.spec.hosts import taken
    from poise.spec.service import parse_project

    here = Path(os.environ.get("GIT_DIR", ".")).resolve()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for folder in sorted(here.parent.glob("*.git")):
        if folder == here:
            continue
        show = ["git", "-C", str(folder), "show", "HEAD:poise.yaml"]
        done = subprocess.run(show, capture_output=True, timeout=pushed.GIT_S, check=False, env=clean)
        if done.returncode != 0:
            continue
        others: Sequence[Service] = ()
        with suppress(PoiseError):  # e.g. a file that it names; its own pushes say so
            others = parse_project(done.stdout.decode(errors="replace"), project=folder.stem).services
        problem = next(taken(declared.services, others, filename), None)
        if problem is not None:
            raise problem


def kept(lines: Sequence[Sequence[str]]) -> Iterable[PoiseError]:
    """What may be neither deleted nor rewritten: branches that are released. Tags may not be deleted."""
    deleted = [ref for _, new, ref in lines if pushed.is_none(new)]
    rewritten = [ref for old, new, ref in lines if _is_rewritten(old, new, ref)]
    released = _released() if deleted or rewritten else set()
    for ref in (*deleted, *rewritten):
        branch = ref.removeprefix("refs/heads/")
        if branch != ref and branch not in released:
            continue
        did, rather = (
            ("deleted", "--delete") if ref in deleted else ("rewritten (non-fast-forward)", "--force")
        )
        yield Invalid(
            "POISE-G109",
            f"{branch} must not be {did}",
            where=ref,
            why="Releases come from it." if branch != ref else "Only branches may be.",
            mend=f"Do so with another branch: git push poise {rather} feature/...",
        )


def _is_rewritten(old: str, new: str, ref: str) -> bool:
    """Whether a branch loses commits that it had."""
    if not ref.startswith("refs/heads/") or pushed.is_none(old) or pushed.is_none(new):
        return False
    return pushed.attempt("merge-base", "--is-ancestor", old, new).returncode != 0


def _released() -> set[str]:
    from poise.spec.service import parse_project

    released = {pushed.head()}
    with suppress(PoiseError):  # e.g. nothing is declared yet
        declared = parse_project(pushed.read("HEAD", "poise.yaml"), project=pushed.project())
        released |= {declared.project.branch, *(service.branch for service in declared.services)}
    return released


def _judged(lines: Sequence[Sequence[str]], released: Collection[str]) -> Iterable[str]:
    """New commits of branches that are released; a deletion has none."""
    for _, new, ref in lines:
        if ref.removeprefix("refs/heads/") in released and not pushed.is_none(new):
            yield new


if __name__ == "__main__":
    sys.exit(main())
