"""The keys of a GitHub Actions workflow that run natively, and those that are refused at plan time.

A key that GitHub knows and Poise does not honour is refused by name, so that a file never means less
here than it says. Source: GitHub Actions, workflow syntax; schema workflow-v1.0.json of
actions/languageservices at 4043eda.
"""

from __future__ import annotations

from typing import Final

from poise.spec import limits
from poise.spec.keys_text import BRANCH, ENV_NAME, FOLDER
from poise.spec.shape import Anything, Choice, Field, Integer, ListOf, MapOf, Number, Record, Shape, Text

_REMOVE: Final = "Remove it; this version does not do it."

SHELLS: Final = {
    None: "bash -e",
    "bash": "bash --noprofile --norc -eo pipefail",
    "sh": "sh -e",
}  # Source: GitHub Actions, jobs.<job_id>.steps[*].shell

WORD: Final = Text(any_scalar=True, max_chars=1000)
ENV: Final = MapOf(name=ENV_NAME, value=Text(any_scalar=True), high=limits.ENV_ENTRIES)
SHELL: Final = Choice(
    words=("bash", "sh"),
    refused=dict.fromkeys(("python", "pwsh", "powershell", "cmd"), "Call it from a bash script."),
)
TIMEOUT: Final = Number(low=0, high=limits.TIMEOUT_MINUTES, open_ends=True)
JOB_ID: Final = Text(
    pattern=r"[A-Za-z_][A-Za-z0-9_-]*",
    hint="A job's id has letters, digits, '-' and '_', and starts with a letter or '_'.",
    max_chars=100,
)
BRANCH_FILTER: Final = Text(
    pattern=rf"(?:{BRANCH.pattern}|[A-Za-z0-9_*][A-Za-z0-9_./*-]*)",
    hint="A branch filter has a branch's name, with '*' and '**'; '!', '?', '+' and '[]' are not read yet.",
    max_chars=200,
)

PUSH: Final = Record(
    fields=(
        Field(
            "branches",
            ListOf(item=BRANCH_FILTER, low=1, alone=True),
            "branches",
            "The branches whose pushes start it; default all.",
        ),
    ),
    refused={
        "branches-ignore": "Use 'branches'.",
        "paths": _REMOVE,
        "paths-ignore": _REMOVE,
        "tags": _REMOVE,
        "tags-ignore": _REMOVE,
    },
)
TRIGGERS: Final[dict[str, Shape]] = {
    "push": PUSH,
    "pull_request": Anything(),
    "workflow_dispatch": Anything(),
}
TRIGGERS_REFUSED: Final = dict.fromkeys(
    (
        "schedule", "workflow_call", "workflow_run", "repository_dispatch", "pull_request_target",
        "merge_group", "release", "create", "delete", "issues", "issue_comment", "deployment",
        "pull_request_review", "registry_package", "status", "check_run", "check_suite", "fork", "label",
    ),
    "Use 'on: push'.",
)  # fmt: skip
ON: Final = Record(
    fields=tuple(
        Field(name, shape, name, "When it runs; here only a push starts it.")
        for name, shape in TRIGGERS.items()
    ),
    refused=TRIGGERS_REFUSED,
)
DEFAULTS: Final = Record(
    fields=(
        Field(
            "run",
            Record(
                fields=(
                    Field("shell", SHELL, "shell", "What runs a script."),
                    Field("working-directory", FOLDER, "working_directory", "Where scripts run."),
                )
            ),
            "run",
            "Defaults of every 'run' step.",
        ),
    )
)
STEP: Final = Record(
    fields=(
        Field("name", WORD, "name", "The step's name."),
        Field("run", Text(any_scalar=True, max_chars=limits.SCRIPT_CHARS), "run", "A script."),
        Field("uses", Text(max_chars=300), "uses", "actions/checkout@v4; no other action is run."),
        Field(
            "with",
            Record(
                fields=(
                    Field(
                        "fetch-depth",
                        Integer(low=0, high=10**9),
                        "fetch_depth",
                        "How many commits; 0 is all.",
                    ),
                ),
                refused=dict.fromkeys(
                    (
                        "repository",
                        "ref",
                        "token",
                        "ssh-key",
                        "path",
                        "clean",
                        "lfs",
                        "submodules",
                        "sparse-checkout",
                        "fetch-tags",
                        "persist-credentials",
                        "set-safe-directory",
                    ),
                    _REMOVE,
                ),
            ),
            "with",
            "Inputs of actions/checkout.",
        ),
        Field("env", ENV, "env", "Environment variables of this step."),
        Field("working-directory", FOLDER, "working_directory", "Where the script runs."),
        Field("timeout-minutes", TIMEOUT, "timeout", "How long it may take."),
        Field("shell", SHELL, "shell", "What runs the script; default 'bash -e'."),
    ),
    refused={
        "if": "Decide in the script.",
        "id": "Remove it; outputs are not passed on yet.",
        "continue-on-error": "Write '|| true' in the script.",
        **dict.fromkeys(("background", "wait", "wait-all", "cancel"), _REMOVE),
    },
)
JOB: Final = Record(
    fields=(
        Field("name", WORD, "name", "The job's name."),
        Field("runs-on", ListOf(item=WORD, low=1, alone=True), "runs_on", "A Linux label.", required=True),
        Field(
            "needs", ListOf(item=JOB_ID, unique=True, alone=True), "needs", "Jobs that must succeed first."
        ),
        Field("env", ENV, "env", "Environment variables of the job."),
        Field("defaults", DEFAULTS, "defaults", "Defaults of its steps."),
        Field("timeout-minutes", TIMEOUT, "timeout", "How long it may take; default 360."),
        Field(
            "steps",
            ListOf(item=STEP, low=1, high=limits.STEPS),
            "steps",
            "What it does, in order.",
            required=True,
        ),
    ),
    refused={
        "if": "Decide in a step's script.",
        "strategy": "Write one job for each combination.",
        "container": "Install what it needs in a step: containers are not run yet.",
        "services": "Start it in a step: containers are not run yet.",
        "uses": "Copy the reusable workflow's jobs into this file.",
        "with": "Copy the reusable workflow's jobs into this file.",
        **dict.fromkeys(
            (
                "secrets",
                "outputs",
                "permissions",
                "environment",
                "concurrency",
                "continue-on-error",
                "snapshot",
            ),
            _REMOVE,
        ),
    },
)
WORKFLOW: Final = Record(
    fields=(
        Field("name", WORD, "name", "The workflow's name."),
        Field("on", Anything(), "", "When it runs.", required=True),
        Field("env", ENV, "env", "Environment variables of every step."),
        Field("defaults", DEFAULTS, "defaults", "Defaults of every step."),
        Field("jobs", MapOf(name=JOB_ID, value=JOB, high=limits.JOBS), "jobs", "The jobs.", required=True),
    ),
    refused=dict.fromkeys(("run-name", "permissions", "concurrency"), _REMOVE),
)  # fmt: skip
