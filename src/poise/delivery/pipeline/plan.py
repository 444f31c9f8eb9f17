"""From the files of a commit to what a run does: jobs, and the services that it releases."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.delivery.pipeline.decide import Planned, artifact_job
from poise.model.delivery import JobRun, StepRun
from poise.model.errors import Invalid, PoiseError
from poise.model.service import Previews, Service
from poise.ports.artifacts import Repositories
from poise.spec.previews import shows
from poise.spec.service import Declared, parse_project
from poise.spec.workflow import parse_workflow

WORKFLOWS: Final = ".github/workflows"
DECLARATIONS: Final = "poise.yaml"
CHECKOUT: Final = "actions/checkout"
IMPLICIT_JOB: Final = "build"

_STEM: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")


class Artifact(Struct, frozen=True, kw_only=True):
    """What becomes the release of a service: a path in the workspace of a job, or an ``image``."""

    service: str
    job: str
    path: str
    specs: tuple[Service, ...]
    image: str = ""


class Sources(Struct, frozen=True, kw_only=True):
    """The files that a run is planned from, by path; ``declarations`` None where there are none."""

    workflows: dict[str, str]
    declarations: str | None


def load(repositories: Repositories, project: str, commit: str) -> Sources:
    """Read a commit's workflow files and declarations (several git commands: call it in a thread)."""
    names = [
        path for path in repositories.list(project, commit, WORKFLOWS) if path.endswith((".yml", ".yaml"))
    ]
    workflows = {}
    for path in sorted(names):
        text = repositories.read(project, commit, path)
        if text is not None:
            workflows[path] = text.decode(errors="replace")
    text = repositories.read(project, commit, DECLARATIONS)
    return Sources(workflows=workflows, declarations=None if text is None else text.decode(errors="replace"))


def planned(sources: Sources, project: str, branch: str, previews: Previews | None = None) -> Planned:
    """The jobs of every workflow file, or the first problem that one of the files has.

    With ``previews`` it is a branch that is looked at, not released.
    """
    try:
        workflow, jobs = _jobs(sources, branch)
    except PoiseError as error:
        return Planned(workflow="", problem=str(error))
    try:
        names = () if previews is None else _previewed(sources, project, previews)
        artifacts(sources, project, branch, jobs, names)
    except PoiseError as error:
        return Planned(workflow=workflow, jobs=(), problem=str(error))
    return Planned(workflow=workflow, jobs=jobs, previews=names)


def artifacts(
    sources: Sources, project: str, branch: str, jobs: Iterable[JobRun], previews: Collection[str] = ()
) -> tuple[Artifact, ...]:
    """What a run on ``branch`` releases, or what is looked at of ``previews``, by their names.

    ``Invalid`` when a service's job cannot be told.
    """
    if sources.declarations is None:
        return ()
    declared = parse_project(sources.declarations, project=project, filename=DECLARATIONS)
    names = [job.id for job in jobs]
    return tuple(_artifact(specs, names) for specs in _released(declared, branch, previews))


def _previewed(sources: Sources, project: str, previews: Previews) -> tuple[str, ...]:
    """The services of a commit that somebody can look at."""
    if sources.declarations is None:
        return ()
    declared = parse_project(sources.declarations, project=project, filename=DECLARATIONS)
    return tuple(sorted({one.name for one in declared.services if shows(previews, one)}))


def _released(declared: Declared, branch: str, previews: Collection[str]) -> Iterable[tuple[Service, ...]]:
    """The declarations of each service that this branch releases or shows, one per environment."""
    by_name: dict[str, list[Service]] = {}
    for service in declared.services:
        is_meant = service.name in previews if previews else service.branch == branch
        if is_meant and not service.runs_elsewhere:
            by_name.setdefault(service.name, []).append(service)
    return (tuple(specs) for _, specs in sorted(by_name.items()))


def _artifact(specs: tuple[Service, ...], jobs: list[str]) -> Artifact:
    service = specs[0]
    if service.image:
        return Artifact(service=service.name, job="", path="", specs=specs, image=service.image)
    job = artifact_job(service, jobs)
    if job is None:
        known = ", ".join(jobs) or "none"
        asked = f" {service.artifact_job!r} is none of them." if service.artifact_job else ""
        raise Invalid(
            "POISE-P201",
            f"service {service.name!r}: which job makes its artifact cannot be told",
            where=DECLARATIONS,
            why=f"The jobs are: {known}.{asked}",
            mend=f"Add `artifact: {{job: {jobs[0] if jobs else IMPLICIT_JOB}}}` to its spec.",
        )
    return Artifact(service=service.name, job=job, path=service.artifact_path, specs=specs)


def _jobs(sources: Sources, branch: str) -> tuple[str, tuple[JobRun, ...]]:
    """The workflow's name and all jobs that a push to ``branch`` starts, or a plain checkout if none.

    Every file is parsed, also one that this branch does not start: a refusal is never put off. Ids carry
    the file's stem when several files run.
    """
    parsed = {path: parse_workflow(text, filename=path) for path, text in sources.workflows.items()}
    running = {path: workflow for path, workflow in parsed.items() if workflow.runs_on(branch)}
    if not running:
        checkout = StepRun(name="checkout", uses=CHECKOUT)
        return "", (JobRun(id=IMPLICIT_JOB, steps=(checkout,)),)
    name = ", ".join(workflow.name for workflow in running.values())
    if len(running) == 1:
        return name, next(iter(running.values())).jobs
    stems = [_stem(path) for path in running]
    if len(set(stems)) < len(stems):
        raise _name_refused(next(path for path in running if stems.count(_stem(path)) > 1))
    return name, tuple(_prefixed(_stem(path), job) for path, flow in running.items() for job in flow.jobs)


def _prefixed(stem: str, job: JobRun) -> JobRun:
    return replace(job, id=f"{stem}.{job.id}", needs=tuple(f"{stem}.{need}" for need in job.needs))


def _stem(path: str) -> str:
    stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    if not _STEM.fullmatch(stem):
        raise _name_refused(path)
    return stem


def _name_refused(path: str) -> Invalid:
    return Invalid(
        "POISE-P202",
        f"workflow file {path!r}: its name cannot name jobs",
        where=path,
        why="Names start with a letter, digit or '_', hold those, '.' and '-', and differ from one another.",
        mend=f"Rename it, e.g. `git mv '{path}' {WORKFLOWS}/ci.yml`.",
    )
