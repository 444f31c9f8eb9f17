"""Whether a release may start: by its envelope, the key that signed it, and the files that are held."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from poise.model.attestation import (
    PREFIX,
    SHA256,
    Attestation,
    Opened,
    Outcome,
    ProvenanceRule,
    Statement,
    TrustedKey,
    Verification,
    statement_of,
)
from poise.model.delivery import Release
from poise.model.errors import Invalid

REBUILD: Final = "push its commit again: git commit --allow-empty -m 'build again' && git push poise"
RESTORE: Final = f"Put back a backup with `poise restore`, or {REBUILD}"


class Seen(Struct, frozen=True, kw_only=True):
    """A release and all that speaks for or against it.

    ``opened`` is its envelope (None: there is none, or ``unreadable`` says why not), ``key`` the one that it
    names when that is on record, ``signed`` whether that key signed exactly this. ``held`` is the digest of
    the files in the store now; None: an image, whose engine checks its digest itself. ``unheld`` says why
    they cannot be read. ``first_key_at`` is when this installation's first key was made.
    """

    release: Release
    digest: str  # of what shall start
    rule: ProvenanceRule = ProvenanceRule.BOOTSTRAP
    way_back: bool = False  # what shall start was live before
    attestation: Attestation | None = None
    opened: Opened | None = None
    unreadable: str = ""
    key: TrustedKey | None = None
    signed: bool = False
    held: str | None = None
    unheld: str = ""
    first_key_at: datetime | None = None


class Fault(NamedTuple):
    """What does not fit: by which rule, in one sentence, and how to mend it."""

    rule: str
    text: str
    mend: str


def decide(seen: Seen, rollout: str, now: datetime) -> Verification:
    """The verification of ``rollout`` (its key), from what is."""
    release, attestation = seen.release, seen.attestation
    found = Verification(
        rollout=rollout,
        release=release.n,
        digest=seen.digest,
        outcome=Outcome.REFUSED,
        rule="",
        text="",
        key_id=attestation.key_id if attestation else "",
        at=now,
    )
    fault = next(_faults(seen, now), None)
    if fault is not None:
        return replace(found, rule=fault.rule, text=fault.text, mend=fault.mend)
    if attestation is None:
        text = f"release {release.n} is from before this installation signed any; its files are as packed"
        return replace(found, outcome=Outcome.BOOTSTRAP, rule="bootstrap", text=text)
    assert seen.opened is not None and seen.key is not None, "what has no fault was opened, by a known key"
    builder = statement_of(seen.opened.payload).predicate.run_details.builder.id
    by = f"by run {release.run} from {release.commit[:10]}, signed by {_name(seen.key)}"
    text = f"release {release.n} was built {by}"
    return replace(found, outcome=Outcome.VERIFIED, rule="verified", text=text, builder=builder)


def _faults(seen: Seen, now: datetime) -> Iterator[Fault]:
    """What does not fit, the first cause first."""
    if seen.attestation is None:
        yield from _missing(seen)
    else:
        yield from _envelope(seen, now)
    yield from _files(seen)


def _missing(seen: Seen) -> Iterator[Fault]:
    """A release without an envelope: older than the first key, or somebody took it away."""
    n, first = seen.release.n, seen.first_key_at
    if first is not None and seen.release.created_at >= first:
        text = (
            f"release {n} has no envelope, and this installation signs every release since {first:%Y-%m-%d}"
        )
        yield Fault("missing", text, RESTORE)
    elif seen.rule is ProvenanceRule.REQUIRED and not seen.way_back:
        text = f"release {n} has no envelope, and the service says `provenance: required`"
        yield Fault("required", text, f"{REBUILD[0].upper()}{REBUILD[1:]}")


def _envelope(seen: Seen, now: datetime) -> Iterator[Fault]:
    n, opened = seen.release.n, seen.opened
    if opened is None:
        yield Fault("envelope", f"the envelope of release {n} was changed: {seen.unreadable}", RESTORE)
        return
    yield from _key(seen, opened, now)
    if not seen.signed:
        text = (
            f"the signature of release {n} does not fit: its envelope was changed, or another key signed it"
        )
        yield Fault("signature", text, RESTORE)
        return
    try:
        statement = statement_of(opened.payload)
    except Invalid as error:
        yield Fault(
            "statement",
            f"the envelope of release {n} is signed, and holds no provenance: {error.what}",
            RESTORE,
        )
        return
    yield from _subject(seen, statement)


def _key(seen: Seen, opened: Opened, now: datetime) -> Iterator[Fault]:
    """Why the key that the envelope names is not believed."""
    n, key, short = seen.release.n, seen.key, opened.key_id[:12]
    if key is None:
        text = f"release {n} is signed by the key {short!r}, which is not known here"
        yield Fault("unknown_key", text, "Trust it if it is yours: poise key trust FILE.pub --reason '...'")
    elif key.removed_at is not None:
        text = f"release {n} is signed by {_name(key)}, which {key.removed_by} removed: {key.reason}"
        mend = f"Trust it again: poise key trust FILE.pub --reason '...'; or {REBUILD}"
        yield Fault("removed_key", text, mend)
    elif key.expires_at is not None and key.expires_at <= now:
        text = f"release {n} is signed by {_name(key)}, which expired at {key.expires_at:%Y-%m-%d %H:%M} UTC"
        mend = f"Trust it for longer: poise key trust FILE.pub --days 90 --reason '...'; or {REBUILD}"
        yield Fault("expired_key", text, mend)


def _subject(seen: Seen, statement: Statement) -> Iterator[Fault]:
    """Whether the envelope is of exactly this release: digest, service, commit and run."""
    release, n = seen.release, seen.release.n
    digests = [PREFIX + one.digest.get(SHA256, "") for one in statement.subject]
    if digests != [seen.digest]:
        said = ", ".join(digest[:19] for digest in digests) or "nothing"
        yield Fault(
            "subject", f"the envelope of release {n} is of {said}, not of {seen.digest[:19]}", RESTORE
        )
    claims = {
        "service": (
            statement.subject[0].name if statement.subject else "",
            f"{release.project}/{release.service}",
        ),
        "commit": (statement.commit, release.commit),
        "run": (
            statement.predicate.run_details.metadata.invocation_id,
            f"{release.project}/runs/{release.run}",
        ),
    }
    for name, (said, is_) in claims.items():
        if said != is_:
            text = f"the envelope of release {n} says {name} {said[:80]!r}, and the record says {is_!r}"
            yield Fault(name, text, RESTORE)


def _files(seen: Seen) -> Iterator[Fault]:
    n = seen.release.n
    if seen.unheld:
        yield Fault(
            "files",
            f"the files of release {n} cannot be read: {seen.unheld}",
            RESTORE,
        )
    elif seen.held is not None and seen.held != seen.digest:
        text = f"the files of release {n} were changed since they were packed: they are {seen.held[:19]}"
        yield Fault(
            "files",
            text,
            f"See which with `poise drift`. {RESTORE}",
        )


def _name(key: TrustedKey) -> str:
    return f"the key {key.key_id[:12]} ({key.name})"
