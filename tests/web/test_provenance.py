"""Where a release comes from, on its rollout's page: what is not known never reads as good."""

from __future__ import annotations

import pytest

from poise.model.attestation import Bill, Lockfile, Outcome
from poise.web.provenance import provenance
from poise.web.rollout_views import ProvenanceView

LOCK = Lockfile(path="a<b>.lock", ecosystem="npm", sha256="0", problem="it is not <JSON>")
READ = Bill(sha256="1", components={"npm": 3}, lockfiles=(LOCK,))
VIEW = ProvenanceView(project="shop", digest="sha256:" + "a" * 64)


@pytest.mark.parametrize(
    ("fields", "said", "unsaid"),
    [
        ({}, ["not verified yet", "Without a signed statement", "no bill of materials"], ["href"]),
        (
            {"outcome": Outcome.REFUSED, "text": "files were changed", "mend": "poise drift"},
            ["refused", "files were changed", "<code>poise drift</code>"], [],
        ),
        (
            {"outcome": Outcome.VERIFIED, "signed": True, "bill": READ},
            ["verified", "/digests/sha256%3A", "/sbom", "3 npm", "could not be read", "not &lt;JSON&gt;"],
            ["<b>", "Without"],
        ),
        ({"signed": True, "bill": Bill(sha256="1")}, ["no lockfile found: nothing is known"], []),
        ({"signed": True, "bill": Bill(looked=False)}, ["the image was not looked into"], ["/sbom"]),
    ],
)  # fmt: skip
def test_what_is_known_is_told_and_what_is_not_too(
    fields: dict[str, object], said: list[str], unsaid: list[str]
) -> None:
    from msgspec.structs import replace

    text = str(provenance(replace(VIEW, **fields)))
    assert [one for one in said if one not in text] == []
    assert [one for one in unsaid if one in text] == []
