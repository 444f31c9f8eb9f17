"""The pre-receive hook: a push whose declarations or workflows cannot be accepted is refused whole.

git runs it in the bare repository with ``<old> <new> <ref>`` lines on standard input and the new objects
in quarantine; what it prints reaches the person who pushes. It reads only the branch that HEAD names.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from poise.model.errors import Invalid, PoiseError

if TYPE_CHECKING:
    from poise.model.service import Service
    from poise.spec.rules import Glob
    from poise.spec.service import Declared

READ_BYTES: Final = 4 * 2**20
PROBLEMS: Final = 20
GIT_S: Final = 60.0
_WORKFLOWS: Final = ".github/workflows/"


def main() -> int:
    """0 lets the push in."""
    try:
        lines = [line.rstrip("\n").split(" ", 2) for line in sys.stdin]
        problems: list[PoiseError] = [*kept(lines)]
        problems += [problem for commit in _pushed(lines) for problem in judge(commit)]
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


def judge(commit: str) -> Iterable[PoiseError]:
    """Every problem of a commit's ``poise.yaml``, of the files it names, and of its workflow files."""
    for path in _files(commit):
        error = _refusal(commit, path, _read(commit, path))
        if error is not None:
            yield from getattr(error, "problems", (error,))  # a file tells all its problems at once


def _refusal(commit: str, path: str, text: str) -> PoiseError | None:
    """The error that ``spec`` raises for a file, if any. Imported here: most pushes need only one."""
    try:
        if path.startswith(_WORKFLOWS):
            from poise.spec.workflow import parse_workflow

            parse_workflow(text, filename=path)
        else:
            from poise.spec.service import parse_project

            declared = parse_project(text, project=_project(), filename=path, file=partial(_named, commit))
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
        project=_project(),
        filename=filename,
        listed=lambda folder: _listed(commit, f"{folder}/" if folder else ""),
        read=lambda path: _read(commit, path),
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
        done = subprocess.run(show, capture_output=True, timeout=GIT_S, check=False, env=clean)
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
    deleted = [ref for _, new, ref in lines if _is_none(new)]
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


def _is_none(sha: str) -> bool:
    return set(sha) == {"0"}


def _is_rewritten(old: str, new: str, ref: str) -> bool:
    """Whether a branch loses commits that it had."""
    if not ref.startswith("refs/heads/") or _is_none(old) or _is_none(new):
        return False
    asked = ["git", "merge-base", "--is-ancestor", old, new]
    return subprocess.run(asked, capture_output=True, timeout=GIT_S, check=False).returncode != 0


def _released() -> set[str]:
    from poise.spec.service import parse_project

    head = _git("symbolic-ref", "--short", "HEAD").decode().strip()
    released = {head}
    with suppress(PoiseError):  # e.g. nothing is declared yet
        declared = parse_project(_read("HEAD", "poise.yaml"), project=_project())
        released |= {declared.project.branch, *(service.branch for service in declared.services)}
    return released


def _pushed(lines: Sequence[Sequence[str]]) -> Iterable[str]:
    """New commits of the branch that HEAD names; a deletion has none."""
    branch = _git("symbolic-ref", "HEAD").decode().strip()
    for _, new, ref in lines:
        if ref == branch and set(new) != {"0"}:
            yield new


def _named(commit: str, path: str) -> str | None:
    """A file that a declaration names; None where there is none."""
    said = _git("--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit, "--", path).decode(
        errors="replace"
    )
    return _read(commit, path) if said.startswith("100") and said.endswith(f"\t{path}\0") else None


def _files(commit: str) -> list[str]:
    found = _listed(commit, "poise.yaml", _WORKFLOWS)
    return [path for path in found if path.endswith((".yml", ".yaml"))]


def _listed(commit: str, *places: str) -> list[str]:
    """Files at these paths, or directly in these folders (which end in ``/``; empty is the root)."""
    named = [place for place in places if place]
    said = _git("ls-tree", "-z", "--full-tree", commit, *named).decode(errors="replace")
    rows = [row.split("\t", 1) for row in said.split("\0") if row]
    return [path for facts, path in rows if facts.startswith("100")]


def _read(commit: str, path: str) -> str:
    data = _git("cat-file", "blob", f"{commit}:{path}")
    if len(data) > READ_BYTES:
        raise PoiseError("POISE-G105", f"{path} has {len(data)} bytes", where=path,
                         why=f"The limit is {READ_BYTES} bytes.", mend="Make it smaller.")  # fmt: skip
    return data.decode(errors="replace")


def _project() -> str:
    """The repository's name is the project's."""
    folder = os.environ.get("GIT_DIR", ".")
    return os.path.basename(os.path.abspath(folder)).removesuffix(".git")  # noqa: PTH100, PTH119


def _git(*args: str) -> bytes:
    """git with the hook's own environment: the quarantine is in it."""
    done = subprocess.run(["git", *args], capture_output=True, timeout=GIT_S, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        what = f"git {args[0]} failed in the pre-receive hook"
        raise PoiseError("POISE-G101", what, why=said, mend="Run `poise doctor`.")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
