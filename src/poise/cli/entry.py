"""The commands, by job, and the one place where errors become exit codes."""

from __future__ import annotations

import sys

from cyclopts import App, CycloptsError

from poise import __version__
from poise.cli.output import complain
from poise.model.errors import PoiseError

USAGE = 2
INTERRUPTED = 130
_HELP = """From commit to recovery on one record; the error budget decides how fast.

Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 conflict, 5 invalid, 6 the gate says hold,
7 unreachable, 8 time-out."""

app = App(name="poise", help=_HELP, version=__version__, help_format="plaintext")

# Named by module and function: a command's code is imported when it is run, so every command starts fast.
_COMMANDS = {
    "Observe": {
        "status": ("observe", "Every service: live, replicas, budget left, the gate."),
        "slo": ("slo", "Objectives of a service. (import, export: files of other tools)"),
        "budget": ("observe", "Error budgets of a service in events."),
        "why": ("why", "In words: what the gate says, and the budgets behind it."),
        "scale": ("scale", "How many replicas a service has and needs, and why."),
        "logs": ("logs", "Output of replicas or of a run, searched and followed."),
        "rules": ("rules", "Recording and alerting rules. (list, check, test)"),
        "targets": ("targets", "What is scraped: health, last scrape, faults."),
        "query": ("query", "Ask the metrics in PromQL; a chart over time."),
        "traces": ("traces", "Traces sent by OTLP: the newest, slow ones, failed ones."),
        "trace": ("traces", "One trace as a waterfall, with its log records."),
        "records": ("traces", "Log records sent by OTLP: a search, or counts by template."),
        "explain": ("observe", "Settings in force for service/NAME or scrape/JOB."),
        "incident": ("incident", "Trouble: list, show, acknowledge, resolve, note."),
        "postmortem": ("postmortem", "What incidents taught. (list, show, export, edit, publish, action)"),
        "oncall": ("oncall", "Who is on call. (show, list, calendar, override, cancel, test)"),
        "dora": ("scorecard", "DORA's five figures, each with its evidence; objectives met."),
        "audit": ("observe", "The journal, and whether it is whole."),
    },
    "Ship": {
        "plan": ("ship", "What applying poise.yaml would change."),
        "apply": ("ship", "Make what poise.yaml declares be so."),
        "drift": ("drift", "What was changed outside, by whom and when."),
        "deploy": ("ship", "Roll a release out, through the gate."),
        "rollback": ("ship", "Back to the release before. Always allowed."),
        "promote": ("ship", "Let the rollout under way take all users at once."),
        "pause": ("ship", "Keep the rollout under way where it is."),
        "resume": ("ship", "Let a paused rollout go on."),
        "abort": ("ship", "End the rollout under way, back to the live release."),
        "rollout": (
            "rollout",
            "A rollout under way, a recorded one, or another tool's. (status, check, replay)",
        ),
        "restart": ("ship", "Restart replicas, one after another."),
        "previews": ("previews", "Branches at an address of their own. (list, stop)"),
        "release": ("release", "Releases by digest: list, verify, provenance, sbom."),
        "gate": (
            "gate",
            "May the next change go? (check, override, approve, exempt, dispute, replay ...)",
        ),
        "lock": ("lock", "Let nothing be rolled out here for a while, and say why."),
        "unlock": ("lock", "Lift a lock."),
        "policy": ("gate", "The budget policy: explain it, test it on a history."),
        "webhook": ("webhook", "Forges that tell of pushes; sinks that are told. (add, list, remove)"),
        "config": ("settings", "Settings of a service, in versions. (set, list, get, diff, rollback)"),
        "secret": ("settings", "Secrets of a service, in versions. (set, list, diff, rollback)"),
    },
    "Run the house": {
        "up": ("house", "Start Poise; make this folder's project known."),
        "down": ("house", "Stop Poise, its workloads and Envoy."),
        "login": ("house", "A fresh one-time login link."),
        "doctor": ("house", "Check machine and installation, with mends."),
        "key": ("key", "Keys that sign provenance: list, show, rotate, trust, remove."),
        "backup": ("house", "A consistent copy of everything as one file."),
        "restore": ("house", "Check or put back a backup."),
        "simulate": ("simulate", "Every controller in a seeded world of faults."),
        "demo": ("demo", "The whole loop on a small shop, live."),
    },
}
for _group, _commands in _COMMANDS.items():
    for _name, (_module, _said) in _commands.items():
        app.command(f"poise.cli.{_module}:{_name}", name=_name, group=_group, help=_said)
app.command("poise.cli.house:serve", name="serve", show=False)
app.command("poise.cli.house:git_credential", name="git-credential", show=False)


def _usage(error: CycloptsError) -> PoiseError:
    """What was typed wrong, with the nearest thing that exists."""
    what = " ".join(str(error).split()).rstrip(".")
    return PoiseError(
        "POISE-E200", what, mend=f"Run: {' '.join(['poise', *(error.command_chain or ())])} --help"
    )


def run(arguments: list[str]) -> int:
    """Run one command; its exit code."""
    as_json = "--json" in arguments
    try:
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        complain(_usage(error), as_json=as_json)
        return USAGE
    except PoiseError as error:
        complain(error, as_json=as_json)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:  # this machine refused: a file's mode, a full disk
        what = f"{error.strerror or error}"
        complain(
            PoiseError("POISE-E100", what, where=str(error.filename or ""), mend="Run: poise doctor"),
            as_json=as_json,
        )
        return PoiseError.exit_code
    return result if isinstance(result, int) else 0
