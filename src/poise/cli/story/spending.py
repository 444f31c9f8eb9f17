"""The stages balance and audit: a spent budget holds features, not fixes; and the journal is whole."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from poise.api.views import Page
from poise.cli.story.scene import Scene
from poise.cli.story.shipping import left, live, must, recounted, run_of
from poise.cli.story.shop import PROJECT
from poise.model.balance import Override, Verdict
from poise.model.delivery import Rollout, RolloutState

HOLD_EXIT: Final = 6
MISUSE_PER_S: Final = 25.0
MISUSE_S: Final = 2.0
MISUSE_TIMES: Final = 10
OVERSPENT_RATIO: Final = -0.6  # below zero, since good requests earn some of the budget back meanwhile
REASON: Final = "the launch is today; the owner has agreed"


async def balance(scene: Scene, facts: dict[str, Any]) -> None:
    """Users meet so many errors that the budget is spent; then the gate decides."""
    await _spend(scene, facts)
    await _feature_waits(scene, facts)
    await _fix_goes(scene, facts)
    await _override(scene, facts)


async def _verdict(scene: Scene, change: str = "feature") -> tuple[int, Verdict]:
    done = await scene.poise(
        "gate", "check", "-s", "storefront", "--class", change, "--json", codes=(0, HOLD_EXIT)
    )
    return done.code, msgspec.json.decode(done.out, type=Verdict)


async def _spend(scene: Scene, facts: dict[str, Any]) -> None:
    errors = 0
    ratio, _ = await left(scene)
    for _ in range(MISUSE_TIMES):
        scene.view.doing(f"users met {errors} errors: {ratio:.0%} of the budget is left")
        errors += await scene.users.misuse(MISUSE_S, MISUSE_PER_S)
        ratio = await recounted(scene, ratio)
        if ratio <= OVERSPENT_RATIO:
            break
    facts["errors_met"] = errors
    facts["budget_left_ratio"] = round(ratio, 4)
    must(ratio <= 0, f"{errors} errors did not spend the budget: {ratio:.0%} is left")


async def _feature_waits(scene: Scene, facts: dict[str, Any]) -> None:
    scene.view.doing("git push of a feature")
    commit = await scene.push("A new feature", "4")
    code, verdict = await _verdict(scene)
    facts["feature_verdict"] = verdict.kind.value
    facts["feature_exit_code"] = code
    facts["feature_reason"] = verdict.sentence
    said = (await scene.poise("gate", "check", "-s", "storefront", codes=(0, HOLD_EXIT))).err
    must(code == HOLD_EXIT and "hold" in said, f"the gate did not hold a feature: {verdict.sentence}")
    await run_of(scene, commit)

    async def held() -> Rollout | None:
        rollout = await scene.rollout_of(commit)
        asked = rollout is not None and rollout.ask is not None and rollout.reason.startswith("hold")
        return rollout if asked else None

    rollout = await scene.until("the feature waits at the gate", held, 30.0)
    facts["feature_rollout"] = rollout.state.value
    must(rollout.state is RolloutState.WAITING, f"the feature is {rollout.state.value}")


async def _fix_goes(scene: Scene, facts: dict[str, Any]) -> None:
    _, verdict = await _verdict(scene, "fix")
    facts["fix_verdict"] = verdict.kind.value
    must(verdict.kind.value in ("go", "slow"), f"the gate held a fix: {verdict.sentence}")
    scene.view.doing("git push of a fix")
    commit = await scene.push("Orders no longer fail\n\nPoise-Class: fix", "5")
    await live(scene, commit, ("storefront",))
    facts["fix_live"] = True


async def _override(scene: Scene, facts: dict[str, Any]) -> None:
    scene.view.doing("a person overrides the gate, with a reason")
    await scene.poise("gate", "override", "storefront", "--reason", REASON)
    path = f"projects/{PROJECT}/environments/production/services/storefront/overrides"
    given = (await scene.get(path, Page[Override])).items[-1]
    code, verdict = await _verdict(scene)
    facts["override"] = {
        "n": given.n,
        "by": given.by,
        "reason": given.reason,
        "expires_at": given.expires_at.isoformat(timespec="seconds"),
        "signed": len(given.signature) >= 32,
        "feature_verdict": verdict.kind.value,
        "feature_exit_code": code,
    }
    must(given.reason == REASON and len(given.signature) >= 32, "the override is not signed with its reason")
    must(code == 0 and verdict.override == given.n, f"the override did not count: {verdict.sentence}")


async def audit(scene: Scene, facts: dict[str, Any]) -> None:
    """Everything that happened is in the journal, and nothing was changed afterwards."""
    scene.view.doing("poise audit verify")
    done = await scene.poise("audit", "verify", "--json", codes=(0, 1))
    said = msgspec.json.decode(done.out, type=dict[str, Any])
    facts["events"] = said["events"]
    facts["chain_ok"] = said["chain_ok"] is True and done.code == 0
    must(facts["chain_ok"] and facts["events"] > 0, f"the journal is broken: {said}")
