"""``poise release``: what was released, where it comes from, whether it still is that, what it is made of."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, Parameter

from poise.api.views import Page
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, project_of
from poise.model.attestation import Verification
from poise.model.delivery import Release
from poise.model.errors import Invalid

release = App(name="release", help="Releases: list, verify, provenance, sbom.")
Digest = Annotated[str, Parameter(help="sha256:..., or at least 8 of its digits.")]


@release.command(name="list")
def list_(service: str, *, common: Common = COMMON) -> None:
    """Releases of a service with their digests, the newest last."""
    found: list[Release] = []
    cursor = ""
    with Client(common) as client:
        path = f"/api/v1/projects/{project_of(common)}/releases/{service.rpartition('/')[2]}"
        while True:
            page = client.get(path, Page[Release], cursor=cursor, limit=500)
            found += page.items
            if page.next is None:
                break
            cursor = page.next
    if common.json:
        return output.data(found)
    rows = [
        (str(one.n), one.digest, one.commit[:10], f"{one.created_at:%Y-%m-%d %H:%M}", one.summary)
        for one in found
    ]
    output.table(("RELEASE", "DIGEST", "COMMIT", "MADE", "WHAT"), rows)
    return None


@release.command
def verify(digest: Digest, *, common: Common = COMMON) -> None:
    """Is it what was built here? Envelope, key and every file. Exit 0: verified, or old; 5: refused."""
    with Client(common) as client:
        found = client.get(f"{_path(common, digest)}/verification", Verification)
    if common.json:
        output.data(found)
    if found.is_refused:
        raise Invalid(f"POISE-V{RULES.get(found.rule, 199)}", found.text, where=found.digest, mend=found.mend)
    if not common.json:
        output.say(f"{found.outcome.value}: {found.text}.")
        if found.builder:
            output.say(f"  builder {found.builder}, key {found.key_id}")


@release.command
def provenance(digest: Digest, *, common: Common = COMMON) -> None:
    """The signed envelope (DSSE) as it is kept: an in-toto statement with SLSA v1 provenance inside."""
    with Client(common) as client:
        sys.stdout.write(client.text(f"{_path(common, digest)}/provenance")[0] + "\n")


@release.command
def sbom(digest: Digest, *, common: Common = COMMON) -> None:
    """What it is made of, as its lockfiles say: CycloneDX 1.6 in JSON."""
    with Client(common) as client:
        sys.stdout.write(client.text(f"{_path(common, digest)}/sbom")[0] + "\n")


RULES = {
    "envelope": 111, "unknown_key": 112, "removed_key": 113, "expired_key": 114, "signature": 115,
    "statement": 116,
    "subject": 117, "service": 118, "commit": 118, "run": 118, "files": 119, "missing": 120, "required": 121,
}  # fmt: skip
"""What ``verify`` names a refusal by, after ``POISE-V``."""


def _path(common: Common, digest: str) -> str:
    return f"/api/v1/projects/{project_of(common)}/digests/{digest}"
