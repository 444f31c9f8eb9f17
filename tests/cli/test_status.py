"""What `poise status` says of the house beside its services."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from poise.model.incident import Incident, IncidentState, Severity


def incident(house: Any, n: int, state: IncidentState, project: str = "shop") -> None:
    now = house.clock.now()
    service = f"{project}/production/web"
    house.write(
        Incident(
            project=project, environment="production", n=n, title="burns", state=state,
            severity=Severity.SEV2, service=service, services=(service,), onset_at=now, opened_at=now,
        )
    )  # fmt: skip


def test_open_incidents_are_one_line_and_none_is_no_line(house: Any, online: Callable[..., Any]) -> None:
    """In a storm the count says more than the list."""
    incident(house, 90, IncidentState.RESOLVED)
    before = json.loads(online("status", "--json").out)["open_incidents"]
    incident(house, 91, IncidentState.OPEN)
    incident(house, 92, IncidentState.ACKNOWLEDGED)
    assert json.loads(online("status", "--json").out)["open_incidents"] == before + 2
    assert f"{before + 2} incidents are open. See: poise incident list" in online("status").out
    for n in (91, 92):
        incident(house, n, IncidentState.RESOLVED)
    if before == 0:
        assert "open. See" not in online("status").out
