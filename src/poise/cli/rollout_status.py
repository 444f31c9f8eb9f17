"""``poise rollout status``: where a rollout is, what the evidence says, and its way to the end."""

from __future__ import annotations

import time
from typing import Final

from poise.cli import output
from poise.cli.client import Client
from poise.cli.observe import service_path
from poise.cli.place import Common, service_key
from poise.model.analysis import Analysis, ArmCount
from poise.model.delivery import RolloutState
from poise.model.errors import PoiseError, Unreachable

LOOK_S: Final = 1.0
AWAY_MAX_S: Final = 300.0
"""For so long a watcher waits for a server that is away; the rollout goes on when it is back."""

_GOOD: Final = (RolloutState.LIVE, RolloutState.RETIRED)


def show(service: str, n: int | None, common: Common) -> None:
    """One look."""
    key = service_key(common, service)
    with Client(common) as client:
        found = client.get(_path(key, n or "latest"), Analysis)
    if common.json:
        return output.data(found)
    output.say(f"{key} rollout: {found.sentence}")
    _table(found)
    return None


def watched(service: str, n: int | None, common: Common) -> None:
    """A line (or with --json a record) for each change until it is over."""
    key, told = service_key(common, service), ""
    with Client(common) as client:
        number = n or client.get(_path(key, "latest"), Analysis).n  # of one that comes later it tells nothing
        path = _path(key, number)
        while True:
            found = _patiently(client, path)
            if found.sentence != told:
                told = found.sentence
                output.data(found) if common.json else output.say(f"{time.strftime('%H:%M:%S')}  {told}")
            if found.is_over:
                break
            time.sleep(LOOK_S)
    if not common.json:
        _table(found)
    if found.state not in _GOOD:
        raise PoiseError("POISE-E283", f"the rollout is not live: {found.state.value.replace('_', ' ')}")


def _patiently(client: Client, path: str) -> Analysis:
    since = time.monotonic()
    while True:
        try:
            return client.get(path, Analysis)
        except Unreachable:
            if time.monotonic() - since > AWAY_MAX_S:
                raise
            time.sleep(LOOK_S)


def _path(key: str, n: int | str) -> str:
    return f"{service_path(key)}/rollouts/{n}/analysis"


def _table(found: Analysis) -> None:
    rows = []
    for one in found.metrics:
        name = one.metric if one.bound_ms is None else f"{one.metric} > {one.bound_ms:g} ms"
        blame = "culprit" if one.is_culprit else ""
        rows.append((name, _arm(one.canary), _arm(one.baseline), f"{one.e_value:.3g}", blame))
    if rows:
        output.table(("metric", "canary", "stable", f"evidence (of {found.threshold:g})", ""), rows)


def _arm(one: ArmCount) -> str:
    if not one.requests:
        return "no request"
    bounds = f"{output.percent(one.low)} to {output.percent(one.high)}"
    return f"{one.bad:,} of {one.requests:,}, {bounds}"
