"""Verifying, done: read the record and every file of a release, judge, and write the word down."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import anyio.to_thread
from msgspec.structs import replace

from poise.delivery.provenance.decide import Seen, decide
from poise.engine.controller import Again, Dropped
from poise.model import event_types
from poise.model.acts import VerifyRelease
from poise.model.attestation import (
    VERIFIED_FRESH_S,
    Attestation,
    ProvenanceRule,
    TrustedKey,
    Verification,
    opened,
)
from poise.model.delivery import Release, Rollout, RolloutState
from poise.model.errors import Invalid, NotFound
from poise.model.record import Event, Write
from poise.model.seal import is_genuine
from poise.ports.artifacts import Artifacts
from poise.ports.signing import Fits
from poise.ports.store import Stale, Store, Transaction

KEYS_SEEN: Final = 500
AGAIN_S: Final = 0.5


class Verifier:
    """Performs ``VerifyRelease``. ``signing_key`` tells which keys are trusted; ``fits``: see the port."""

    def __init__(self, store: Store, artifacts: Artifacts, fits: Fits, signing_key: bytes) -> None:
        self._store, self._artifacts, self._fits = store, artifacts, fits
        self._signing_key = signing_key

    async def perform(self, act: object, intent_key: str, fence: int, now: datetime) -> str:
        """Write the verification of a rollout that is to start; again only when it has grown old."""
        assert isinstance(act, VerifyRelease)
        rollout, _ = await self._store.get(Rollout, act.rollout)
        known, known_ref = await self._store.get(Verification, act.rollout)
        if rollout is None or rollout.state not in (RolloutState.WAITING, RolloutState.STARTING):
            raise Dropped(f"{act.rollout} does not start any more")
        if known is not None and (now - known.at).total_seconds() <= VERIFIED_FRESH_S / 2:
            return known.text
        release, _ = await self._store.get(Release, release_key(rollout))
        if release is None:
            raise Dropped(f"release {rollout.release} of {rollout.service} is not on record")
        seen = await self.see(release, rollout.digest, rollout.spec.image != "", rollout.spec.provenance)
        made = decide(replace(seen, way_back=rollout.back_to is not None), rollout.key, now)
        write = Write(kind="Verification", key=made.key, body=made)
        try:
            await self._store.commit(
                Transaction(at=now, reads=(known_ref,), writes=(write,), events=(_event(made),), fence=fence)
            )
        except Stale as stale:
            raise Again(f"not recorded: {stale}", AGAIN_S) from stale
        return made.text

    async def check(self, release: Release, now: datetime) -> Verification:
        """The same look at a release that nobody rolls out now. Nothing is written."""
        seen = await self.see(release, release.digest, release.is_image, ProvenanceRule.BOOTSTRAP)
        return decide(seen, release.key, now)

    async def see(self, release: Release, digest: str, is_image: bool, rule: ProvenanceRule) -> Seen:
        """All that speaks for or against a release. Cost: one read of every file of it, in a thread."""
        attestation, _ = await self._store.get(Attestation, release.key)
        keys, _ = await self._store.scan(TrustedKey, limit=KEYS_SEEN)
        trusted = {key.key_id: key for key in keys if is_genuine(key, self._signing_key)}
        seen = Seen(
            release=release,
            digest=digest,
            rule=rule,
            attestation=attestation,
            first_key_at=min((key.made_at for key in trusted.values() if key.own), default=None),
        )
        if attestation is not None:
            seen = self._read(seen, attestation, trusted)
        return seen if is_image else await self._hold(seen)

    def _read(self, seen: Seen, attestation: Attestation, trusted: dict[str, TrustedKey]) -> Seen:
        try:
            found = opened(attestation.envelope)
        except Invalid as error:
            return replace(seen, unreadable=error.what)
        key = trusted.get(found.key_id)
        signed = key is not None and self._fits(key.public_pem, found.message, found.signature)
        return replace(seen, opened=found, key=key, signed=signed)

    async def _hold(self, seen: Seen) -> Seen:
        try:
            return replace(seen, held=await anyio.to_thread.run_sync(self._artifacts.measure, seen.digest))
        except (NotFound, OSError) as error:
            return replace(seen, unheld=error.what if isinstance(error, NotFound) else str(error))


def release_key(rollout: Rollout) -> str:
    """The key of the release that a rollout brings."""
    return f"{rollout.project}/{rollout.service}/{rollout.release:06d}"


def _event(made: Verification) -> Event:
    kind = event_types.RELEASE_REFUSED if made.is_refused else event_types.RELEASE_VERIFIED
    said = f"{made.text}" if not made.is_refused else f"nothing of it starts: {made.text}"
    facts = {
        "rule": made.rule, "outcome": made.outcome.value, "release": made.release, "digest": made.digest,
        "key": made.key_id, "builder": made.builder, "mend": made.mend,
    }  # fmt: skip
    return Event(type=kind, subject=made.rollout, summary=said, data=facts)
