"""Where a release comes from, said so that others can check it: statements, envelopes, keys, verifications.

Names on the wire follow their standards exactly.
Source: DSSE 1.0 (secure-systems-lab/dsse: protocol.md, envelope.md); in-toto Attestation Framework 1.0
(in-toto/attestation: spec/v1/statement.md, resource_descriptor.md); SLSA 1.0 (slsa.dev/spec/v1.0/provenance).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from poise.model.errors import Invalid

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "https://poise.dev/build/push/v1"
"""What ``externalParameters`` mean: docs/provenance.md, "The build type"."""

SHA256: Final = "sha256"
PREFIX: Final = f"{SHA256}:"
VERIFIED_FRESH_S: Final = 60.0  # a verification that is older starts nothing


# -- DSSE -----------------------------------------------------------------------------------------------


class Signature(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One signature of an envelope; ``sig`` is base64."""

    keyid: str
    sig: str


class Envelope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A DSSE envelope; ``payload`` is base64."""

    payload: str
    payload_type: str
    signatures: tuple[Signature, ...]


class Opened(Struct, frozen=True, kw_only=True):
    """What an envelope holds. Nothing of it is to be believed before the signature was checked."""

    payload: bytes
    key_id: str
    signature: bytes

    @property
    def message(self) -> bytes:
        """The bytes that were signed."""
        return pae(PAYLOAD_TYPE, self.payload)


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a DSSE signature is over: the pre-authentication encoding.

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b" ".join((b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(payload), payload))


def enclosed(payload: bytes, key_id: str, signature: bytes) -> str:
    """The envelope of a signed in-toto statement, in the one form that ``opened`` takes."""
    made = Envelope(
        payload=b64encode(payload).decode(),
        payload_type=PAYLOAD_TYPE,
        signatures=(Signature(keyid=key_id, sig=b64encode(signature).decode()),),
    )
    return msgspec.json.encode(made).decode()


def opened(text: str) -> Opened:
    """What an envelope holds. Raises ``Invalid`` for anything but the bytes that ``enclosed`` makes.

    Base64 and JSON can write one thing in several ways; only one is taken, so that no byte of a stored
    envelope can be another one and pass.
    """
    try:
        found = msgspec.json.decode(text.encode(), type=Envelope)
        (signature,) = found.signatures
        inside = b64decode(found.payload, validate=True)
        made = Opened(
            payload=inside, key_id=signature.keyid, signature=b64decode(signature.sig, validate=True)
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise Invalid("POISE-V101", "the envelope cannot be read", why=f"{error}.") from None
    if found.payload_type != PAYLOAD_TYPE:
        raise Invalid(
            "POISE-V102", f"the envelope's payload is of type {found.payload_type[:80]!r}",
            why=f"Only {PAYLOAD_TYPE} is read.",
        )  # fmt: skip
    if enclosed(made.payload, made.key_id, made.signature) != text:
        raise Invalid("POISE-V103", "the envelope is not written as Poise writes one")
    return made


# -- in-toto and SLSA -----------------------------------------------------------------------------------


class Descriptor(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An in-toto ResourceDescriptor: at least a URI or a digest (algorithm to lower-case hex)."""

    name: str = ""
    uri: str = ""
    digest: dict[str, str] = {}
    media_type: str = ""


class BuildDefinition(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What was asked for, and what was known of its inputs."""

    build_type: str
    external_parameters: dict[str, Any]
    internal_parameters: dict[str, Any] = {}
    resolved_dependencies: tuple[Descriptor, ...] = ()


class Builder(Struct, frozen=True, kw_only=True):
    """Who built: ``id`` is the URI of the installation."""

    id: str
    version: dict[str, str] = {}


class Metadata(Struct, frozen=True, kw_only=True, rename="camel"):
    """Which run, and from when to when."""

    invocation_id: str
    started_on: datetime
    finished_on: datetime


class RunDetails(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Who built it, when, and what else came of it."""

    builder: Builder
    metadata: Metadata
    byproducts: tuple[Descriptor, ...] = ()


class Provenance(Struct, frozen=True, kw_only=True, rename="camel"):
    """The predicate ``https://slsa.dev/provenance/v1``."""

    build_definition: BuildDefinition
    run_details: RunDetails


class Subject(Struct, frozen=True, kw_only=True):
    """What the statement is about."""

    name: str
    digest: dict[str, str]


class Statement(Struct, frozen=True, kw_only=True, rename="camel"):
    """An in-toto Statement v1 about one subject."""

    type_: str = field(name="_type", default=STATEMENT_TYPE)
    subject: tuple[Subject, ...]
    predicate_type: str = PREDICATE_TYPE
    predicate: Provenance

    @property
    def commit(self) -> str:
        """The git commit that was built; empty where it names none."""
        found = (one.digest.get("gitCommit", "") for one in self.dependencies)
        return next((commit for commit in found if commit), "")

    @property
    def dependencies(self) -> tuple[Descriptor, ...]:
        """What it was built from."""
        return self.predicate.build_definition.resolved_dependencies


def payload_of(statement: Statement) -> bytes:
    """The statement as it is signed: equal statements, equal bytes."""
    return msgspec.json.encode(msgspec.to_builtins(statement), order="sorted")


def statement_of(payload: bytes) -> Statement:
    """The statement in a payload; ``Invalid`` when it is none of ours. Unknown fields are ignored."""
    try:
        found = msgspec.json.decode(payload, type=Statement)
    except msgspec.MsgspecError as error:
        raise Invalid("POISE-V104", "the statement cannot be read", why=f"{error}.") from None
    if (found.type_, found.predicate_type) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise Invalid(
            "POISE-V105", f"the statement is a {found.predicate_type[:80]!r}",
            why=f"It must be {PREDICATE_TYPE}.",
        )  # fmt: skip
    return found


# -- what is kept ---------------------------------------------------------------------------------------


class Lockfile(Struct, frozen=True, kw_only=True):
    """A lockfile that a release holds: its path, what it counts, and why it cannot be read (empty: it can).

    ``unpinned`` counts what it asks for without a version, which is in no bill of materials.
    """

    path: str
    ecosystem: str
    sha256: str
    components: int = 0
    unpinned: int = 0
    problem: str = ""


class Bill(Struct, frozen=True, kw_only=True):
    """What a release's bill of materials (SBOM) comes to; ``sha256`` is that of the CycloneDX document.

    Not ``looked``: an image, whose contents nobody opened.
    """

    sha256: str = ""
    components: dict[str, int] = {}  # by ecosystem: pypi, npm, golang, cargo
    lockfiles: tuple[Lockfile, ...] = ()
    looked: bool = True

    @property
    def sentence(self) -> str:
        """What is known, and what is not.

        >>> Bill(looked=False).sentence, Bill().sentence
        ('the image was not looked into', 'no lockfile found: nothing is known of what it is made of')
        """
        if not self.looked:
            return "the image was not looked into"
        if not self.lockfiles:
            return "no lockfile found: nothing is known of what it is made of"
        counted = ", ".join(f"{count} {name}" for name, count in sorted(self.components.items())) or "none"
        files = f"{len(self.lockfiles)} lockfile{'s' if len(self.lockfiles) > 1 else ''}"
        unread = sum(bool(one.problem) for one in self.lockfiles)
        open_ended = sum(one.unpinned for one in self.lockfiles)
        more = f"; {unread} could not be read" if unread else ""
        more += f"; {open_ended} more without a version" if open_ended else ""
        return f"components: {counted}, of {files}{more}"


class Attested(Struct, frozen=True, kw_only=True):
    """What packing signed of one release."""

    envelope: str
    key_id: str
    bill: Bill = Bill()


class Attestation(Struct, frozen=True, kw_only=True):
    """The signed provenance of a release; key as the release's. Written by pipeline, with the release."""

    project: str
    service: str
    n: int
    digest: str
    at: datetime
    envelope: str
    key_id: str
    bill: Bill = Bill()

    @property
    def key(self) -> str:
        """``project/service/n``, zero-padded."""
        return f"{self.project}/{self.service}/{self.n:06d}"


class TrustedKey(Struct, frozen=True, kw_only=True):
    """A public key (ed25519, PEM) whose envelopes are believed; key: its id. Written by the API.

    ``key_id`` is SHA-256 over the DER of its SubjectPublicKeyInfo, hex. ``own``: this installation signs or
    signed with it; ``retired_at``: since when it does no more. A key is believed until it is removed or
    expires. ``signature`` seals the record, so that editing the store trusts nobody.
    """

    key_id: str
    public_pem: str
    name: str
    own: bool
    made_at: datetime
    made_by: str = "poise"
    expires_at: datetime | None = None
    retired_at: datetime | None = None
    removed_at: datetime | None = None
    removed_by: str = ""
    reason: str = ""
    signature: str = ""

    @property
    def key(self) -> str:
        """The key's id."""
        return self.key_id


class ProvenanceRule(StrEnum):
    """What a service asks of a release without an envelope; one with an envelope must fit in any case."""

    BOOTSTRAP = "bootstrap"  # from before this installation signed: it goes on, and is told of
    REQUIRED = "required"  # it does not start


class Outcome(StrEnum):
    """How a verification ended."""

    VERIFIED = "verified"
    BOOTSTRAP = "bootstrap"
    REFUSED = "refused"


class Verification(Struct, frozen=True, kw_only=True):
    """Whether a rollout's release is what was built here; key as the rollout's. Written by provenance.

    ``rule`` says by what; ``text`` is one sentence; ``mend`` a thing to paste.
    """

    rollout: str
    release: int
    digest: str
    outcome: Outcome
    rule: str
    text: str
    mend: str = ""
    key_id: str = ""
    builder: str = ""
    at: datetime

    @property
    def key(self) -> str:
        """As the rollout's: ``project/environment/service/n``, zero-padded."""
        return self.rollout

    @property
    def is_refused(self) -> bool:
        """Whether nothing of it may start."""
        return self.outcome is Outcome.REFUSED
