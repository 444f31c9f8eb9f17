"""Where a release comes from, and what it is made of, on the page of its rollout."""

from __future__ import annotations

import htpy as h

from poise.api.parts import Parts
from poise.model.attestation import Attestation, Outcome, Verification
from poise.model.delivery import Rollout
from poise.web import links
from poise.web.parts import card, pill
from poise.web.rollout_views import ProvenanceView

_TONES = {Outcome.VERIFIED: "go", Outcome.BOOTSTRAP: "slow", Outcome.REFUSED: "hold"}


async def provenance_of(parts: Parts, rollout: Rollout) -> ProvenanceView:
    """What is on record; nothing is read anew."""
    release = f"{rollout.project}/{rollout.service}/{rollout.release:06d}"
    verified, _ = await parts.store.get(Verification, rollout.key)
    signed, _ = await parts.store.get(Attestation, release)
    return ProvenanceView(
        project=rollout.project,
        digest=rollout.digest,
        outcome=verified.outcome if verified else None,
        text=verified.text if verified else "",
        mend=verified.mend if verified else "",
        signed=signed is not None,
        bill=signed.bill if signed else None,
    )


def provenance(view: ProvenanceView | None) -> h.Element | None:
    """Verified or not, by whom, the way out; the bill of materials in counts."""
    if view is None:
        return None
    outcome = view.outcome
    said = pill(outcome.value, _TONES[outcome]) if outcome else pill("not verified yet", "unknown")
    return card(
        "Where this release comes from",
        h.p[said, " ", view.text],
        h.p[h.code[view.mend]] if view.mend else None,
        h.p(".mono")[view.digest],
        h.p[
            h.a(href=links.digest(view.project, view.digest, "provenance"))["Signed statement"]
            if view.signed
            else "Without a signed statement",
            " · ",
            _bill(view),
        ],
    )


def _bill(view: ProvenanceView) -> h.Node:
    """Counts, with a link where there is a document."""
    bill = view.bill
    if bill is None:
        return "no bill of materials"
    if not bill.sha256:
        return bill.sentence
    unread = [h.li[f"{one.path}: {one.problem}"] for one in bill.lockfiles if one.problem]
    return [
        h.a(href=links.digest(view.project, view.digest, "sbom"))["Bill of materials"],
        f": {bill.sentence}",
        h.ul[unread] if unread else None,
    ]
