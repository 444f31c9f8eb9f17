"""Versions of config and secret: with which a rollout runs, and when a newer one becomes a rollout itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from poise.delivery.rollout.facts import Seen, focus, is_rejected
from poise.delivery.rollout.moves import created, decision, superseded
from poise.delivery.rollout.revision import revision_of
from poise.model.config import Config, Secret
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.record import Decision
from poise.model.service import Service

NAMES_SHOWN: Final = 5
REASON_CHARS: Final = 200

_STRICT: Final = (ChangeClass.ROLLBACK, ChangeClass.SECURITY, ChangeClass.FIX, ChangeClass.FEATURE)
"""From the class that the gate lets through most easily to the one it holds first."""


class Versions(NamedTuple):
    """Which config and which secret; 0: none."""

    config: int
    secret: int


class _Step(NamedTuple):
    kind: str
    known: Sequence[Config | Secret]
    before: int
    after: int


def versions_of(rollout: Rollout | None) -> Versions:
    """What ``rollout`` runs with."""
    return Versions(rollout.config, rollout.secret) if rollout else Versions(0, 0)


def wanted(seen: Seen, change_class: ChangeClass | None = None) -> Versions:
    """The newest versions that were not rejected, else those that are live.

    A release of ``change_class`` takes only what the gate would not hold longer than itself: a fix never
    waits for somebody's feature.
    """
    live = versions_of(seen.live)
    return Versions(
        _wanted(seen, "config", seen.configs, live.config, change_class),
        _wanted(seen, "secret", seen.secrets, live.secret, change_class),
    )


def changes_of(live: Rollout | None, digest: str, spec: Service, versions: Versions) -> tuple[str, ...]:
    """What such a rollout would change against what is live; a change of the spec counts as the release's."""
    runs = versions_of(live)
    same = live is not None and revision_of(live.digest, live.spec) == revision_of(digest, spec)
    changes = [] if same else ["release"]
    changes += ["config"] if versions.config != runs.config else []
    changes += ["secret"] if versions.secret != runs.secret else []
    return tuple(changes) or ("release",)


def take_settings(seen: Seen, now: datetime) -> Decision | None:
    """A newer version as a rollout of what is live; one that waits follows the versions. None: nothing to do.

    While a rollout is under way the versions wait, so that it is judged for what it changes alone.
    """
    if seen.service is None or seen.active is not None:
        return None
    waiting, live = focus(seen.rollouts), seen.live
    if waiting is not None:
        return _follow(seen, now, waiting)
    versions = wanted(seen)
    if live is not None:
        return None if versions == versions_of(live) else _of_live(seen, now, live, versions)
    failed = seen.newest
    if failed is None or failed.state is not RolloutState.FAILED:
        return None
    tried = Versions(max(r.config for r in seen.rollouts), max(r.secret for r in seen.rollouts))
    if versions.config > tried.config or versions.secret > tried.secret:
        return _of_live(seen, now, failed, versions)
    return None


def _follow(seen: Seen, now: datetime, waiting: Rollout) -> Decision | None:
    """A rollout that has not started takes the versions that are wanted by now."""
    if waiting.back_to is not None:
        return None
    brings_release = "release" in waiting.changes
    versions = wanted(seen, waiting.change_class if brings_release else None)
    if versions == versions_of(waiting):
        return None
    live = seen.live
    if not brings_release and live is not None:
        if versions != versions_of(live):
            return _of_live(seen, now, live, versions)
        after, event = superseded(waiting, now, "its settings are live or rejected")
        return decision(seen, now, after, events=(event,))
    rollout = _again(seen, now, waiting, versions)
    return created(
        seen, now, replace(rollout, order=waiting.order, paused=waiting.paused), "settings", "poise"
    )


def _of_live(seen: Seen, now: datetime, base: Rollout, versions: Versions) -> Decision:
    """The release of ``base`` with other settings, said in words and by whom."""
    kinds: tuple[tuple[str, Sequence[Config | Secret]], ...] = (
        ("config", seen.configs),
        ("secret", seen.secrets),
    )
    steps = [
        _Step(kind, known, before, after)
        for (kind, known), before, after in zip(kinds, versions_of(base), versions, strict=True)
        if before != after
    ]
    change_class = _strictest([_class_of(seen, one.kind, one.known, one.before) for one in steps])
    rollout = replace(
        _again(seen, now, base, versions),
        summary="; ".join(map(_sentence, steps)),
        change_class=change_class,
        straight=change_class is ChangeClass.ROLLBACK,
    )
    newest = max((one.known[-1] for one in steps if one.known), key=lambda body: body.at, default=None)
    return created(seen, now, rollout, "settings", newest.by if newest else "poise")


def _again(seen: Seen, now: datetime, base: Rollout, versions: Versions) -> Rollout:
    """``base`` as a rollout that has done nothing yet, with ``versions``."""
    assert seen.newest is not None, "what is run again is a rollout"
    changes = changes_of(seen.live, base.digest, base.spec, versions)
    fresh = unstarted() | {"orders_seen": seen.orders_seen, "created_at": now}
    return replace(
        base,
        **fresh,
        n=seen.newest.n + 1,
        config=versions.config,
        secret=versions.secret,
        changes=changes,
        revision=revision_of(base.digest, base.spec, *versions),
    )


def unstarted() -> dict[str, Any]:
    """The fields of a rollout that has done nothing yet, but for the versions that it runs with."""
    return {
        field.name: field.default
        for field in msgspec.structs.fields(Rollout)
        if field.default is not msgspec.NODEFAULT and field.name not in ("config", "secret", "changes")
    }


def standing(rollouts: Sequence[Rollout], kind: str, versions: Sequence[int]) -> int:
    """The version that stands, and that the next one is made from: the newest unless it was rejected.

    Then the live one, or while nothing is live the newest that was not; 0: none. Both ``rollouts`` and
    ``versions`` ascend. Made from a rejected version, the next would bring its values back unasked.
    """
    if not versions or not is_rejected(rollouts, kind, versions[-1]):
        return versions[-1] if versions else 0
    live = next((one for one in reversed(rollouts) if one.state is RolloutState.LIVE), None)
    if live is not None:
        return live.config if kind == "config" else live.secret
    return next((n for n in reversed(versions) if not is_rejected(rollouts, kind, n)), 0)


def _wanted(
    seen: Seen,
    kind: str,
    known: Sequence[Config | Secret],
    kept: int,
    change_class: ChangeClass | None,
) -> int:
    newest = known[-1].n if known else 0
    if newest <= kept:
        return kept
    stands = standing(seen.rollouts, kind, [one.n for one in known])
    if seen.live is None or stands != newest:
        return stands
    fits = change_class is None or not _holds_longer(_class_of(seen, kind, known, kept), change_class)
    return newest if fits else kept


def _holds_longer(one: ChangeClass, other: ChangeClass) -> bool:
    return _STRICT.index(one) > _STRICT.index(other)


def _class_of(seen: Seen, kind: str, known: Sequence[Config | Secret], since: int) -> ChangeClass:
    """The class of going from ``since`` to the newest: the strictest on the way, rejected ones apart."""
    newest = known[-1] if known else None
    if newest is None or newest.change_class is ChangeClass.ROLLBACK:
        return ChangeClass.ROLLBACK if newest else ChangeClass.FEATURE
    pending = [
        one.change_class
        for one in known
        if one.n > since and (one is newest or not is_rejected(seen.rollouts, kind, one.n))
    ]
    return _strictest(pending)


def _strictest(classes: Sequence[ChangeClass]) -> ChangeClass:
    return max(classes, key=_STRICT.index, default=ChangeClass.FEATURE)


def _sentence(step: _Step) -> str:
    """``config 4: PAYMENTS_TIMEOUT changed by anna: because``; names alone, never a value."""
    bodies = {one.n: one for one in step.known}
    body = bodies.get(step.after)
    if body is None:
        return f"back to {step.kind} {step.after}"
    was, now = _marks(bodies.get(step.before)), _marks(body)
    names = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
    listed = ", ".join(names[:NAMES_SHOWN]) or "nothing"
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    verb = f"restored from {body.restores} by" if body.restores is not None else "changed by"
    return f"{step.kind} {step.after}: {listed}{more} {verb} {body.by}: {body.reason[:REASON_CHARS]}"


def _marks(body: Config | Secret | None) -> dict[str, str]:
    if body is None:
        return {}
    return body.values if isinstance(body, Config) else body.marks
