"""Releases by digest over HTTP: where one comes from, whether it still is that, what it is made of."""

from __future__ import annotations

from typing import Annotated, Any, Final

import anyio.to_thread
import msgspec
from litestar import Request, Response, get
from litestar.params import PathParameter

from poise.adapters.bill.cyclonedx import MEDIA_TYPE
from poise.api import keys
from poise.api.params import Part
from poise.api.parts import Parts
from poise.api.read import parts_of
from poise.model.attestation import PREFIX, Attestation, Envelope, Verification
from poise.model.delivery import Release
from poise.model.errors import Invalid, NotFound, Unreachable

PREFIX_MIN: Final = 8
PAGE: Final = 500
_DIGEST: Final = "/api/v1/projects/{project:str}/digests/{digest:str}"
Asked = Request[Any, Any, Any]
Digest = Annotated[str, PathParameter(min_length=1, max_length=100)]


@get(_DIGEST, opt={"permission": "viewer"})
async def get_release(request: Asked, project: Part, digest: Digest) -> Release:
    """The newest release with this digest, or with the one that begins so."""
    return await release_of(parts_of(request), project, digest)


@get(_DIGEST + "/provenance", opt={"permission": "viewer"})
async def get_provenance(request: Asked, project: Part, digest: Digest) -> Envelope:
    """The signed provenance: a DSSE envelope around an in-toto statement."""
    parts = parts_of(request)
    release = await release_of(parts, project, digest)
    found, _ = await parts.store.get(Attestation, release.key)
    if found is None:
        raise NotFound(
            "POISE-V303", f"release {release.n} of {release.service} has no provenance", where=release.digest,
            why="It was made before this installation signed any.",
            mend="Push its commit again: a new release has one.",
        )  # fmt: skip
    try:
        return msgspec.json.decode(found.envelope, type=Envelope)
    except msgspec.DecodeError as error:
        raise Invalid("POISE-V101", "the envelope cannot be read", where=release.digest, why=f"{error}.",
                      mend=f"Run: poise release verify {release.digest}") from None  # fmt: skip


@get(_DIGEST + "/verification", opt={"permission": "viewer"})
async def verify_release(request: Asked, project: Part, digest: Digest) -> Verification:
    """The look that a rollout's start takes, now: envelope, key, and every file. Nothing is written."""
    parts = parts_of(request)
    release = await release_of(parts, project, digest)
    if parts.verifier is None:
        raise Unreachable("POISE-V304", "this process cannot read releases", mend="Run: poise up")
    async with parts.verifying:
        return await parts.verifier.check(release, parts.clock.now())


@get(_DIGEST + "/sbom", opt={"permission": "viewer"})
async def get_sbom(request: Asked, project: Part, digest: Digest) -> Response[bytes]:
    """What the release is made of, as CycloneDX 1.6."""
    parts = parts_of(request)
    release = await release_of(parts, project, digest)
    if parts.bills is None:
        raise Unreachable("POISE-V304", "this process cannot read releases", mend="Run: poise up")
    body = await anyio.to_thread.run_sync(parts.bills.read, release.digest)
    return Response(body, media_type=MEDIA_TYPE)


async def release_of(parts: Parts, project: str, digest: str) -> Release:
    """The newest release of a project with this digest: whole, or at least ``PREFIX_MIN`` of its hex."""
    wanted = PREFIX + digest.removeprefix(PREFIX).lower()
    if len(wanted) < len(PREFIX) + PREFIX_MIN:
        raise Invalid("POISE-V305", f"{digest[:80]!r} is too short for a digest",
                      why=f"At least {PREFIX_MIN} digits.",
                      mend="Run: poise release list SERVICE")  # fmt: skip
    found: dict[str, Release] = {}
    after = ""
    while True:
        page, _ = await parts.store.scan(Release, f"{project}/", after=after, limit=PAGE)
        for one in page:
            if one.digest.startswith(wanted):
                kept = found.get(one.digest)
                found[one.digest] = one if kept is None or one.created_at >= kept.created_at else kept
        if len(page) < PAGE:
            break
        after = page[-1].key
    if len(found) != 1:
        why = "Several begin so." if found else f"Nothing that {project} released has it."
        raise NotFound("POISE-V302", f"no release {digest[:80]}", where=project, why=why,
                       mend="Run: poise release list SERVICE")  # fmt: skip
    return next(iter(found.values()))


ROUTES = [get_release, get_provenance, verify_release, get_sbom, *keys.ROUTES]
