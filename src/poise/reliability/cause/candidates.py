"""From the record to candidates: which changes took traffic in time, and what each of them changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from poise.model import event_types
from poise.model.config import Config, Secret
from poise.model.delivery import ChangeClass, Rollout
from poise.model.fleet import RollbackRequest
from poise.model.incident import SuspectKind
from poise.model.record import Recorded
from poise.reliability.cause.scene import Candidate

TOOK_TRAFFIC: Final = (
    event_types.ROLLOUT_STEPPED,
    event_types.SERVICE_DEPLOYED,
    event_types.SERVICE_UPGRADED,
)
UNDONE: Final = (event_types.ROLLOUT_ROLLING_BACK, event_types.SERVICE_ROLLED_BACK)
TYPES: Final = (*TOOK_TRAFFIC, *UNDONE, event_types.SCALE_CHANGED)
PRIORS: Final[dict[ChangeClass, float]] = {ChangeClass.ROLLBACK: 0.9}
SCALE_IN_PRIOR: Final = 0.9
SCALE_OUT_PRIOR: Final = 0.6
EXTERNAL_PRIOR: Final = 0.9
NAMES_MAX: Final = 5
SUMMARY_MAX: Final = 200

Settings = Mapping[str, Config | Secret]  # by "config/<key>" or "secret/<key>"


def took_traffic(rows: Iterable[Recorded]) -> dict[str, list[Recorded]]:
    """The events of each rollout that took traffic, by its key, ascending."""
    found: dict[str, list[Recorded]] = {}
    for row in rows:
        if row.event.type in (*TOOK_TRAFFIC, *UNDONE) and row.event.subject.count("/") == 3:
            found.setdefault(row.event.subject, []).append(row)
    return {key: told for key, told in found.items() if _began(told) is not None}


def of_rollouts(
    rollouts: Sequence[Rollout],
    told: Mapping[str, Sequence[Recorded]],
    settings: Settings,
    requests: Mapping[str, RollbackRequest],
) -> list[Candidate]:
    """A candidate for each rollout."""
    made = []
    for rollout in rollouts:
        rows = told[rollout.key]
        began = _began(rows)
        assert began is not None
        kind, summary = _what(rollout, settings)
        made.append(
            Candidate(
                kind=kind,
                subject=rollout.key,
                service=rollout.service_key,
                summary=summary,
                began_at=began,
                n=rollout.n,
                old=rollout.baseline,
                prior=PRIORS.get(rollout.change_class, 1.0),
                condemned=_condemned(rollout, rows, requests.get(rollout.service_key)),
                undone_at=_undone(rollout, rollouts, told),
                events=tuple(row.sequence for row in rows),
            )
        )
    return made


def of_scaling(rows: Iterable[Recorded]) -> list[Candidate]:
    """A candidate for each change of the number of replicas."""
    return [
        Candidate(
            kind=SuspectKind.SCALE,
            subject=row.event.subject,
            service=row.event.subject,
            summary=row.event.summary[:SUMMARY_MAX],
            began_at=row.at,
            prior=SCALE_IN_PRIOR if _is_scale_in(row) else SCALE_OUT_PRIOR,
            events=(row.sequence,),
        )
        for row in rows
        if row.event.type == event_types.SCALE_CHANGED
    ]


def of_others(rows: Iterable[Recorded]) -> list[Candidate]:
    """A candidate for each change that another system reported; Poise's own are of rollouts."""
    return [
        Candidate(
            kind=SuspectKind.EXTERNAL,
            subject=row.event.subject,
            service="/".join(row.event.subject.split("/")[:3]),
            summary=row.event.summary[:SUMMARY_MAX],
            began_at=row.at,
            prior=EXTERNAL_PRIOR,
            events=(row.sequence,),
        )
        for row in rows
        if row.event.type.startswith("dev.cdevents.service.") and row.event.subject.count("/") != 3
    ]


def _began(rows: Sequence[Recorded]) -> datetime | None:
    return next((row.at for row in rows if row.event.type in TOOK_TRAFFIC or _is_promotion(row)), None)


def _is_promotion(row: Recorded) -> bool:
    """A rollback's rollout is promoted under the same type that ends one which was rolled back."""
    return row.event.type == event_types.SERVICE_ROLLED_BACK and row.event.data.get("rule") == "promoted"


def _undone(
    rollout: Rollout, rollouts: Sequence[Rollout], told: Mapping[str, Sequence[Recorded]]
) -> datetime | None:
    """Since when it takes no traffic: it was rolled back, or a later rollout went back from it."""
    for row in told[rollout.key]:
        if row.event.type in UNDONE and not _is_promotion(row):
            return row.at
    for later in rollouts:
        back = later.change_class is ChangeClass.ROLLBACK
        if back and later.service_key == rollout.service_key and later.baseline == rollout.n:
            return told[later.key][-1].at
    return None


def _condemned(rollout: Rollout, rows: Sequence[Recorded], request: RollbackRequest | None) -> str:
    if request is not None and request.rollout == rollout.n:
        return f"healing asked to roll it back: {request.reason}"[:SUMMARY_MAX]
    if rollout.trial.e_value * rollout.alpha_harm >= 1.0:
        return f"its canary was found harmful (evidence {rollout.trial.e_value:.3g} to 1)"
    return ""


def _what(rollout: Rollout, settings: Settings) -> tuple[SuspectKind, str]:
    """What kind of change a rollout is, and one phrase that names it."""
    where = f"{rollout.service} rollout {rollout.n}"
    if "release" in rollout.changes or not {"config", "secret"} & set(rollout.changes):
        also = _settings(rollout, settings)
        summary = f"release {rollout.release} of {rollout.service} ({_short(rollout.summary)})"
        return SuspectKind.DEPLOY, f"{summary}, with {also}" if also else summary
    return SuspectKind.CONFIG, f"{_settings(rollout, settings) or 'settings'} of {where}"


def _settings(rollout: Rollout, settings: Settings) -> str:
    """The versions of settings that a rollout changed and the names that differ; never a value."""
    parts = []
    for kind, n in (("config", rollout.config), ("secret", rollout.secret)):
        if kind not in rollout.changes or n == 0:
            continue
        new = settings.get(f"{kind}/{rollout.service_key}/{n:06d}")
        old = settings.get(f"{kind}/{rollout.service_key}/{n - 1:06d}")
        names = sorted(name for name, _ in _told_apart(new).items() ^ _told_apart(old).items())
        shown = ", ".join(dict.fromkeys(names[: 2 * NAMES_MAX]))
        parts.append(f"{kind} {n}" + (f" ({shown})" if shown else ""))
    return " and ".join(parts)


def _told_apart(version: Config | Secret | None) -> Mapping[str, str]:
    if version is None:
        return {}
    return version.values if isinstance(version, Config) else version.marks


def _is_scale_in(row: Recorded) -> bool:
    before, after = row.event.data.get("from"), row.event.data.get("to")
    return isinstance(before, int) and isinstance(after, int) and after < before


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
