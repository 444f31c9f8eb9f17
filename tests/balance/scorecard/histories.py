"""Histories of deliveries as the journal would tell them, short to write and seeded to generate."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from poise.model import event_types as types
from poise.model.record import Event, Recorded

START = datetime(2026, 1, 1, tzinfo=UTC)
SERVICE = "shop/production/web"


class Teller:
    """Writes events one after another; ``at`` is minutes from the start."""

    def __init__(self) -> None:
        self.rows: list[Recorded] = []
        self._live: dict[str, tuple[int, str]] = {}

    def tell(self, kind: str, subject: str, at: float, **data: Any) -> int:
        sequence = len(self.rows) + 1
        event = Event(type=kind, subject=subject, summary=kind, data=data)
        instant = START + timedelta(minutes=at)
        self.rows.append(Recorded(sequence=sequence, at=instant, event=event, previous_hash="", hash=""))
        return sequence

    def push(self, commit: str, at: float, *made: tuple[str, float], **data: Any) -> int:
        """Commits as (sha, minutes at which it was committed)."""
        epoch = START.timestamp()
        commits = [[sha, epoch + 60 * minute] for sha, minute in made or ((commit, at),)]
        return self.tell(types.CHANGE_MERGED, f"shop/{commit}", at, commit=commit, commits=commits, **data)

    def created(self, n: int, at: float, change_class: str = "feature", service: str = SERVICE) -> None:
        self.tell(types.ROLLOUT_CREATED, f"{service}/{n:06d}", at, change_class=change_class)

    def live(
        self, n: int, commit: str, at: float, change_class: str = "feature", service: str = SERVICE
    ) -> int:
        """Rollout ``n`` took the place of what was live."""
        self.created(n, at - 2, change_class, service)
        old = self._live.get(service)
        back = types.SERVICE_ROLLED_BACK if change_class == "rollback" else types.SERVICE_UPGRADED
        kind = types.SERVICE_DEPLOYED if old is None else back
        self._live[service] = (n, commit)
        return self.tell(
            kind, f"{service}/{n:06d}", at, rule="promoted", rollout=n, release=n, commit=commit,
            replaced=old[0] if old else None, change_class=change_class,
        )  # fmt: skip

    def taken_back(
        self, n: int, commit: str, at: float, detected: float, back: float, service: str = SERVICE
    ) -> int:
        """A canary that met users from ``at``."""
        key = f"{service}/{n:06d}"
        self.created(n, at - 1, service=service)
        self.tell(types.ROLLOUT_STEPPED, key, at)
        self.tell(types.ROLLOUT_ROLLING_BACK, key, detected)
        return self.tell(
            types.SERVICE_ROLLED_BACK, key, back, rule="rolled_back", rollout=n, release=n, commit=commit
        )

    def incident(self, number: int, n: int, at: float, until: float | None, service: str = SERVICE) -> None:
        key = f"shop/{number:06d}"
        self.tell(types.INCIDENT_DETECTED, key, at, service=service, rollouts={service: n})
        if until is not None:
            self.tell(types.INCIDENT_RESOLVED, key, until)


def generated(seed: int, deployments: int = 30, services: int = 2) -> list[Recorded]:
    """A history with pushes, canaries, rollbacks, incidents and rework; the same for the same seed."""
    chance, teller = random.Random(seed), Teller()
    at, numbers = 0.0, dict.fromkeys((f"shop/production/s{i}" for i in range(services)), 0)
    for step in range(deployments):
        at += chance.uniform(30, 2000)
        commit, service = f"c{seed}-{step}", chance.choice(list(numbers))
        made = [(f"{commit}-{i}", at - chance.uniform(1, 5000)) for i in range(chance.randint(1, 4))]
        teller.push(commit, at, *made, **({"incident": "shop/000001"} if chance.random() < 0.1 else {}))
        numbers[service] += 1
        n, end = numbers[service], at + chance.uniform(5, 60)
        kind = chance.choice(["feature", "feature", "fix", "rollback", "canary"])
        if kind == "canary":
            teller.taken_back(n, commit, at + 1, end - 2, end, service)
        else:
            teller.live(n, commit, end, kind, service)
        if chance.random() < 0.25:
            over = None if chance.random() < 0.2 else end + chance.uniform(1, 600)
            teller.incident(step + 1, n, end + 1, over, service)
    return teller.rows
