"""What a release came from, as a signed statement: made when it is packed, by the server, never by a step.

``docs/provenance.md`` says what each field means and what may be believed of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Final

from msgspec import Struct

from poise.delivery.pipeline.plan import DECLARATIONS, Artifact, Sources
from poise.model.attestation import (
    BUILD_TYPE,
    PAYLOAD_TYPE,
    PREFIX,
    SHA256,
    Attested,
    Bill,
    BuildDefinition,
    Builder,
    Descriptor,
    Metadata,
    Provenance,
    RunDetails,
    Statement,
    Subject,
    enclosed,
    pae,
    payload_of,
)
from poise.model.delivery import Run
from poise.ports.artifacts import Base, Bills
from poise.ports.signing import Signer

BILL_NAME: Final = "sbom.cdx.json"
BILL_TYPE: Final = "application/vnd.cyclonedx+json"


class Installation(Struct, frozen=True, kw_only=True):
    """Who builds: the builder's URI, Poise's version, and the URL below which repositories are."""

    builder: str
    version: str
    url: str

    def repository(self, project: str) -> str:
        """The repository's URL."""
        return f"{self.url}/git/{project}.git"


class Attester:
    """Signs what a run yields. ``attest`` reads lockfiles: call it in a thread."""

    def __init__(self, signer: Signer, bills: Bills, installation: Installation) -> None:
        self._signer = signer
        self._bills = bills
        self._installation = installation

    def bill(self, artifact: Artifact, digest: str) -> Bill:
        """What the release is made of; an image is not looked into."""
        return Bill(looked=False) if artifact.image else self._bills.make(digest)

    def attest(
        self,
        run: Run,
        sources: Sources,
        artifact: Artifact,
        digest: str,
        bill: Bill,
        base: Base | None,
        now: datetime,
    ) -> Attested:
        """The envelope of one release, signed by the key in force. ``base`` is what an image stands on."""
        made = statement(self._installation, run, sources, artifact, digest, bill, base, now)
        payload = payload_of(made)
        key_id, signature = self._signer.sign(pae(PAYLOAD_TYPE, payload))
        return Attested(envelope=enclosed(payload, key_id, signature), key_id=key_id, bill=bill)


def statement(
    who: Installation,
    run: Run,
    sources: Sources,
    artifact: Artifact,
    digest: str,
    bill: Bill,
    base: Base | None,
    now: datetime,
) -> Statement:
    """The statement: the release is what ``run`` made of its commit, and finished packing ``now``."""
    repository, ref = who.repository(run.project), f"refs/heads/{run.branch}"
    source = f"git+{repository}@{ref}"
    made_of = [Descriptor(uri=source, digest={"gitCommit": run.commit})]
    if artifact.image:
        made_of += _images(artifact.image, digest, base)
    made_of += [
        Descriptor(name=one.path, uri=f"{source}#{one.path}", digest={SHA256: one.sha256})
        for one in bill.lockfiles
    ]
    kept = (Descriptor(name=BILL_NAME, digest={SHA256: bill.sha256}, media_type=BILL_TYPE),)
    return Statement(
        subject=(
            Subject(name=f"{run.project}/{artifact.service}", digest={SHA256: digest.removeprefix(PREFIX)}),
        ),
        predicate=Provenance(
            build_definition=BuildDefinition(
                build_type=BUILD_TYPE,
                external_parameters={
                    "repository": repository,
                    "ref": ref,
                    "commit": run.commit,
                    "service": artifact.service,
                    "declarations": {
                        "path": DECLARATIONS,
                        "digest": {SHA256: _hash(sources.declarations or "")},
                    },
                    "workflows": [
                        {"path": path, "digest": {SHA256: _hash(text)}}
                        for path, text in sorted(sources.workflows.items())
                    ],
                    "artifact": {"image": artifact.image}
                    if artifact.image
                    else {"job": artifact.job, "path": artifact.path},
                },
                internal_parameters={"sandbox": "bubblewrap", "network": run.network},
                resolved_dependencies=tuple(made_of),
            ),
            run_details=RunDetails(
                builder=Builder(id=who.builder, version={"poise": who.version}),
                metadata=Metadata(
                    invocation_id=f"{run.project}/runs/{run.n}", started_on=run.created_at, finished_on=now
                ),
                byproducts=kept if bill.sha256 else (),
            ),
        ),
    )


def _images(reference: str, digest: str, base: Base | None) -> Iterable[Descriptor]:
    yield Descriptor(name=reference, digest={SHA256: digest.removeprefix(PREFIX)})
    if base is not None:
        yield Descriptor(name=base.name, digest={SHA256: base.digest.removeprefix(PREFIX)})


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
