"""What was rejected and what has been live where, worked out apart from the rollout room."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from poise.model.delivery import Rollout, RolloutState
from poise.model.service import Project
from poise.simulation.book import Book

_BACK: Final = (RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK)
_ENDED: Final = (*_BACK, RolloutState.FAILED)


class Refusals:
    """Holds rollouts to what was refused: a digest, a config version, a release not yet live in staging."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._digests: dict[str, dict[str, str]] = {}  # service -> rejected digest -> by which rollout
        self._configs: dict[str, dict[int, str]] = {}  # service -> rejected config version -> by which
        self._was_live: dict[str, set[str]] = {}  # service -> digests that reached all its users

    def rollout(self, rollout: Rollout, before: Struct | None) -> None:
        """A rollout was written; ``before`` is what it was."""
        if before is None:
            self._created(rollout)
            return
        assert isinstance(before, Rollout)
        if before.state is not rollout.state:
            self._moved(rollout, before)

    def passed(self, rollout: Rollout) -> None:
        """Users may meet ``rollout`` only if its digest was live in the environment before."""
        project = self._book.one(Project, rollout.project)
        first = project.environment_before(rollout.environment) if project else None
        if first is None:
            return
        staged = f"{rollout.project}/{first}/{rollout.service}"
        if rollout.digest not in self._was_live.get(staged, ()):
            said = f"{rollout.key} brings release {rollout.release}, which was never live in {first}"
            self._book.breach("nothing-skips-staging", said)

    def _created(self, rollout: Rollout) -> None:
        self.passed(rollout)
        service = rollout.service_key
        rejecting = self._digests.get(service, {}).get(rollout.digest)
        if rejecting and rollout.order is None and "release" in rollout.changes:
            said = f"{rollout.key} brings back what {rejecting} rejected"
            self._book.breach("a-rejected-digest-is-remembered", said)
        rejecting = self._configs.get(service, {}).get(rollout.config)
        if rejecting and rollout.back_to is None:
            said = f"{rollout.key} brings back config {rollout.config}, which {rejecting} rejected"
            self._book.breach("a-rejected-config-is-remembered", said)

    def _moved(self, rollout: Rollout, before: Rollout) -> None:
        digests = self._digests.setdefault(rollout.service_key, {})
        configs = self._configs.setdefault(rollout.service_key, {})
        if rollout.state is RolloutState.LIVE:
            self._was_live.setdefault(rollout.service_key, set()).add(rollout.digest)
            digests.pop(rollout.digest, None)
            configs.pop(rollout.config, None)
        elif before.state is RolloutState.LIVE:
            self._went_back(rollout, digests, configs)
        elif "release" in rollout.changes:
            if rollout.state in _BACK:
                digests[rollout.digest] = rollout.key
        elif "config" in rollout.changes and (rollout.state in _ENDED or rollout.aborted):
            configs[rollout.config] = rollout.key

    def _went_back(self, rollout: Rollout, digests: dict[str, str], configs: dict[int, str]) -> None:
        """Somebody went back from what was live: what they left is rejected, what stays is not."""
        service = rollout.service_key
        live = next((r for r in self._book.all(Rollout, f"{service}/") if r.state is RolloutState.LIVE), None)
        if live is None or rollout.state is not RolloutState.ROLLED_BACK:
            return
        if live.digest != rollout.digest:
            digests[rollout.digest] = rollout.key
        if live.config != rollout.config:
            configs[rollout.config] = rollout.key
