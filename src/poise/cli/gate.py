"""The gate: check, override, approve, exempt, dispute, rule, grants, replay."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import App, Parameter

from poise.api.asks import Approve, AskGate, AskGrant, DecideGrant, MakeOverride
from poise.api.views import Created, Page
from poise.balance.gate.decide import replay as derive
from poise.balance.gate.decide import why as in_words
from poise.balance.gate.standing import PolicyStanding
from poise.cli import github, output
from poise.cli.change_class import told_of
from poise.cli.client import Client
from poise.cli.observe import service_path
from poise.cli.place import COMMON, Common, project_of, service_key, text_of
from poise.model.balance import Override, Verdict, VerdictKind
from poise.model.delivery import ChangeClass
from poise.model.errors import Held, Invalid, NotFound, PoiseError
from poise.model.grant import Cause, Grant, GrantKind
from poise.model.policy import ClassRule
from poise.model.spend import SpendLedger

HOLD_EXIT: Final = 6

gate = App(name="gate", help="May the next change go? Go, slowly, or hold.")
Reason = Annotated[str, Parameter(help="Why; kept, signed and counted.")]
Number = Annotated[int, Parameter(help="Its number (poise gate grants SERVICE).")]


@gate.command
def check(
    service: Annotated[str | None, Parameter(name=("--service", "-s"), help="Which service.")] = None,
    *,
    change: Annotated[
        ChangeClass | None,
        Parameter(name="--class", help="What it is for; default: what GitHub's event says, else feature."),
    ] = None,
    digest: str | None = None,
    github_summary: Annotated[
        bool, Parameter(name="--github", negative="", help="Write a step summary and outputs for GitHub.")
    ] = False,
    slo: Annotated[
        Path | None, Parameter(help="A file of objectives; asks --prometheus and needs no server of Poise.")
    ] = None,
    prometheus: Annotated[str | None, Parameter(help="The Prometheus-compatible API to count in.")] = None,
    first_release: Annotated[
        bool, Parameter(negative="", help="With --slo: nothing of the service is live yet.")
    ] = False,
    common: Common = COMMON,
) -> int:
    """Ask the gate: go and slow exit 0, hold exits 6. The same answer that a rollout's step gets.

    With --slo FILE --prometheus URL it counts there itself: no server, no store. In a GitHub workflow the
    labels of the pull request (or the trailers of the commit that was pushed) say the class, by the policy's
    rules.
    """
    if (slo is None) != (prometheus is None):
        raise Invalid("POISE-E210", "--slo and --prometheus belong together", mend="Name both, or neither.")
    ledgers: list[SpendLedger] = []
    told = told_of(change)
    if slo is not None and prometheus is not None:
        from poise.cli.gate_alone import judged

        verdict, found = judged(slo, prometheus, service, told, digest, common, first_release=first_release)
    elif service is None:
        raise Invalid("POISE-E211", "which service?", mend="Run: poise gate check --service NAME")
    else:
        key = service_key(common, service)
        with Client(common) as client:
            rules: tuple[ClassRule, ...] = ()
            if told.needs_rules:
                rules = client.get(service_path(key) + "/policy", PolicyStanding).policy.classes
            found = told.classified(rules)
            body = AskGate(change_class=found.change_class, digest=digest)
            verdict = client.post(service_path(key) + "/gate", body, Verdict)
            if github_summary:
                ledgers = client.get(service_path(key) + "/ledgers", Page[SpendLedger]).items
    if told.needs_rules:
        output.talk(common, f"class {found.sentence}")
    if github_summary:
        github.tell(verdict, ledgers, found.why)
    return _answer(verdict, common)


def _answer(verdict: Verdict, common: Common) -> int:
    held = verdict.kind is VerdictKind.HOLD
    if common.json:
        output.data(verdict)
        return HOLD_EXIT if held else 0
    if held:
        name = verdict.service.rpartition("/")[2]
        mend = f"Ship a fix (--class fix), or: poise gate override {name} --reason '...'"
        if any(reason.rule == "unreadable" for reason in verdict.reasons):
            mend = "Mend what is named; unknown data is never a go."
        raise Held(
            "POISE-G600",
            f"hold: {verdict.reasons[0].text}" if verdict.reasons else "hold",
            where=verdict.service,
            why="; ".join(reason.text for reason in verdict.reasons[1:]),
            mend=mend,
        )
    output.say(verdict.sentence)
    return 0


@gate.command
def override(
    service: str,
    *,
    reason: Reason,
    hours: Annotated[float, Parameter(help="For how long, at most 24.")] = 1.0,
    digest: str | None = None,
    common: Common = COMMON,
) -> None:
    """Let changes go against the gate for a while: signed, expiring, counted, agreed by a second person."""
    body = MakeOverride(reason=reason, expires_s=hours * 3600, digest=digest)
    _post(service, "/overrides", body, common)


@gate.command
def approve(
    service: str,
    *,
    reason: Reason = "approved",
    override_n: Annotated[
        int | None, Parameter(name="--override", help="Approve this override of somebody else.")
    ] = None,
    grant: Annotated[int | None, Parameter(help="Approve this wish of somebody else.")] = None,
    hours: Annotated[float, Parameter(help="For how long the approval holds.")] = 1.0,
    digest: Annotated[str | None, Parameter(help="The release that is approved; default: any.")] = None,
    common: Common = COMMON,
) -> None:
    """Approve a feature where the policy wants an operator's word, or what somebody else asked for."""
    if override_n is not None:
        return _post(service, f"/overrides/{override_n}/approval", Approve(reason=reason), common)
    if grant is not None:
        body = DecideGrant(allowed=True, reason=reason)
        return _post(service, f"/grants/{grant}/decision", body, common)
    wish = AskGrant(kind=GrantKind.APPROVAL, reason=reason, expires_s=hours * 3600, digest=digest)
    return _post(service, "/grants", wish, common)


@gate.command
def exempt(
    service: str,
    *,
    cause: Annotated[Cause, Parameter(help="What spent the budget instead of the team.")],
    reason: Reason,
    days: Annotated[float, Parameter(help="For how long, at most the policy's exemptionMax.")] = 7.0,
    common: Common = COMMON,
) -> None:
    """Lift a freeze whose cause lies elsewhere; another operator must agree."""
    body = AskGrant(kind=GrantKind.EXEMPTION, reason=reason, expires_s=days * 86_400, cause=cause)
    _post(service, "/grants", body, common)


@gate.command
def dispute(
    service: str,
    *,
    reason: Reason,
    hours: Annotated[float, Parameter(help="For how long a ruling would hold, at most 24.")] = 24.0,
    common: Common = COMMON,
) -> None:
    """Disagree with the verdict: those whom the policy's escalateTo names (else admins) decide."""
    body = AskGrant(kind=GrantKind.RULING, reason=reason, expires_s=hours * 3600)
    _post(service, "/grants", body, common)


@gate.command
def rule(
    service: str,
    n: Number,
    *,
    reason: Reason,
    allow: Annotated[bool, Parameter(negative="--uphold", help="Let it go, or uphold the policy.")],
    common: Common = COMMON,
) -> None:
    """Decide a dispute, or refuse a wish (--uphold)."""
    _post(service, f"/grants/{n}/decision", DecideGrant(allowed=allow, reason=reason), common)


@gate.command
def grants(service: str, *, common: Common = COMMON) -> None:
    """Overrides, approvals, exemptions and rulings of a service, newest last."""
    key = service_key(common, service)
    with Client(common) as client:
        made = client.get(service_path(key) + "/overrides", Page[Override], limit=500).items
        found = client.get(service_path(key) + "/grants", Page[Grant], limit=500).items
    if common.json:
        return output.data({"overrides": made, "grants": found})
    now = datetime.now(UTC)
    rows = [
        ("override", str(one.n), one.by, one.approved_by or "–", _override(one, now), one.reason)
        for one in made
    ]
    rows += [
        (one.kind.value, str(one.n), one.by, one.decided_by or "–", _grant(one, now), one.reason)
        for one in found
    ]
    return output.table(("what", "n", "asked by", "decided by", "state", "reason"), rows)


@gate.command
def replay(
    verdict: Annotated[
        str, Parameter(help="SERVICE/ROLLOUT/ask/N, or a file with what 'gate check --json' printed.")
    ],
    *,
    common: Common = COMMON,
) -> int:
    """Derive a verdict again from its stored inputs: byte-equal exits 0, else 1."""
    known = _known(verdict, common)
    again = derive(known.inputs)
    before, after = (msgspec.json.encode(one, order="sorted") for one in (known, again))
    if common.json:
        output.data({"equal": before == after, "verdict": again})
    elif before == after:
        output.say(f"Equal, {len(after)} bytes. {in_words(again)}")
    else:
        raise PoiseError(
            "POISE-G601", "the verdict is not what its inputs yield", where=verdict,
            why=f"On record: {known.sentence} Derived: {again.sentence}", mend="Run: poise audit verify",
        )  # fmt: skip
    return 0 if before == after else 1


def _known(verdict: str, common: Common) -> Verdict:
    file = Path(verdict)
    if file.is_file():
        try:
            return msgspec.json.decode(text_of(file), type=Verdict)
        except msgspec.DecodeError as error:
            mend = "Write one with: poise gate check --json > verdict.json"
            raise Invalid(
                "POISE-E212", "this is no verdict", where=verdict, why=str(error), mend=mend
            ) from None
    parts = verdict.split("/")
    if len(parts) < 4 or parts[-2] != "ask" or not (parts[-1] + parts[-3]).isdigit():
        mend = "Use SERVICE/ROLLOUT/ask/N, e.g. shop/12/ask/3"
        raise NotFound("POISE-E213", f"'{verdict}' names no verdict", mend=mend)
    key = service_key(common, "/".join(parts[:-3]))
    with Client(common) as client:
        return client.get(f"{service_path(key)}/rollouts/{int(parts[-3])}/verdicts/{int(parts[-1])}", Verdict)


def _override(one: Override, now: datetime) -> str:
    if now >= one.expires_at:
        return "expired"
    return f"until {one.expires_at:%Y-%m-%d %H:%M}" if one.is_approved else "waits for another operator"


def _grant(one: Grant, now: datetime) -> str:
    if one.allowed is False:
        return "refused"
    if now >= one.expires_at:
        return "expired"
    return f"until {one.expires_at:%Y-%m-%d %H:%M}" if one.allowed else "waits for somebody to decide"


def _post(service: str, path: str, body: msgspec.Struct, common: Common) -> None:
    key = service_key(common, service)
    with Client(common) as client:
        done = client.post(service_path(key) + path, body, Created)
    output.data(done) if common.json else output.say(done.sentence)


policy = App(name="policy", help="The error-budget policy: what is in force and why; tried on a history.")


@policy.command
def explain(service: str, *, common: Common = COMMON) -> None:
    """The policy of a service: its level, since when, what moves it, what people granted."""
    key = service_key(common, service)
    with Client(common) as client:
        found = client.get(service_path(key) + "/policy", PolicyStanding)
    if common.json:
        return output.data(found)
    state = found.state
    since = f" since {state.since:%Y-%m-%d %H:%M} UTC" if state and state.level is found.level else ""
    output.say(f"{key}: policy {found.policy.name}, level {found.level.value}{since}.")
    output.say(f"  {found.sentence}")
    if state is not None and state.faster_at is not None:
        output.say(
            f"  It may go faster from {state.faster_at:%Y-%m-%d %H:%M} UTC if the budget stays as it is."
        )
    rows = [(one.objective.rpartition("/")[2], one.state.value, output.percent(one.left_ratio), one.text)
            for one in found.standings]  # fmt: skip
    output.table(("objective", "state", "left", "why"), rows)
    for duty in found.duties:
        output.say(f"  owed: {duty.text}")
    for one in found.checked:
        answer = one.problem or ("holds" if one.holds else "does not hold")
        output.say(f"  condition {one.condition.name} ({one.condition.when}): {answer}")
    for grant in found.grants:
        output.say(f"  {grant.kind.value} {grant.n} of {grant.by}: {grant.reason}")
    return None


@policy.command
def test(
    history: Annotated[Path, Parameter(help="CSV of a budget's history: UTC instant,left (1 for all).")],
    *,
    file: Annotated[Path, Parameter(help="The spec with the policy.")] = Path("poise.yaml"),
    common: Common = COMMON,
) -> None:
    """Play the policy over a history of budgets: when each level began, how long it lasted. No server."""
    from poise.cli.policy_play import played, shares
    from poise.spec.service import parse_project

    declared = parse_project(text_of(file), project=project_of(common, file.parent), filename=str(file))
    spells = played(text_of(history), str(history), declared.project.policy)
    if common.json:
        return output.data(spells)
    rows = [
        (f"{one.start:%Y-%m-%d %H:%M}", one.level.value, f"{one.hours:.1f}", output.percent(one.left_ratio))
        for one in spells
    ]
    output.table(("from (UTC)", "level", "hours", "left"), rows)
    output.say("; ".join(f"{level} {output.percent(share)}" for level, share in shares(spells)))
    return None
