"""``poise release``: a release that was packed and signed, as a person and a script see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from poise.adapters.artifacts import FolderArtifacts
from poise.api.keys import ensure_key
from poise.delivery.pipeline.attesting import Attester, Installation
from poise.delivery.pipeline.plan import Artifact, Sources
from poise.model.attestation import Attestation, opened, statement_of
from poise.model.delivery import ChangeClass, Release, Run


@pytest.fixture
def packed(house: Any) -> Release:
    """One release of shop/web in the house's own store, signed by its own key."""
    parts, now = house.parts, house.clock.now()
    anyio.run(ensure_key, parts.store, parts.clock, parts.key_file, parts.signing_key)
    work = house.data / "work"
    work.mkdir()
    (work / "app.py").write_text("print('hello')\n")
    (work / "uv.lock").write_text('[[package]]\nname = "idna"\nversion = "3.10"\n')
    (work / "go.sum").write_text("broken\n")
    digest = FolderArtifacts(house.data / "releases").pack(work, ".")
    who = Installation(builder="https://poise.dev/installation/a", version="0", url="http://127.0.0.1")
    attester = Attester(parts.key_file, parts.bills, who)
    run = Run(project="shop", n=1, commit="c" * 40, branch="main", workflow="ci", created_at=now)
    artifact = Artifact(service="web", job="build", path=".", specs=())
    bill = attester.bill(artifact, digest)
    made = attester.attest(run, Sources(workflows={}, declarations=""), artifact, digest, bill, None, now)
    release = Release(
        project="shop", service="web", n=1, digest=digest, run=1, commit="c" * 40, summary="feat: one",
        change_class=ChangeClass.FEATURE, committed_at=now, created_at=now,
    )  # fmt: skip
    kept = Attestation(
        project="shop", service="web", n=1, digest=digest, at=now, envelope=made.envelope,
        key_id=made.key_id, bill=made.bill,
    )  # fmt: skip
    house.write(release, kept)
    return release


def test_a_release_is_found_by_the_first_digits_of_its_digest(
    packed: Release, online: Callable[..., Any]
) -> None:
    listed = online("release", "list", "web").out
    assert packed.digest in listed and "feat: one" in listed
    done = online("release", "verify", packed.digest.removeprefix("sha256:")[:8])
    assert done.code == 0 and done.out.startswith("verified: release 1 was built by run 1 from cccccccccc")


def test_the_envelope_is_printed_byte_for_byte_as_it_was_signed(
    packed: Release, online: Callable[..., Any]
) -> None:
    """Others check the signature over these bytes."""
    text = online("release", "provenance", packed.digest).out.rstrip("\n")
    assert statement_of(opened(text).payload).subject[0].name == "shop/web"


def test_the_bill_is_cyclonedx_and_its_hash_is_signed(
    house: Any, packed: Release, online: Callable[..., Any]
) -> None:
    made = json.loads(online("release", "sbom", packed.digest).out)
    assert (made["bomFormat"], [one["name"] for one in made["components"]]) == ("CycloneDX", ["idna"])
    found, _ = anyio.run(house.store.get, Attestation, packed.key)
    assert [(one.path, one.problem) for one in found.bill.lockfiles] == [
        ("go.sum", "line 1 is not 'module version h1:hash'"), ("uv.lock", "")
    ]  # fmt: skip
    assert found.bill.sentence == "components: 1 pypi, of 2 lockfiles; 1 could not be read"


def test_what_was_tampered_with_is_exit_5_with_the_reason_also_as_data(
    house: Any, packed: Release, online: Callable[..., Any]
) -> None:
    (house.data / "releases" / packed.digest.removeprefix("sha256:") / "app.py").write_text("x")
    done = online("release", "verify", packed.digest)
    assert done.code == 5 and done.err.startswith("POISE-V119 the files of release 1 were changed")
    assert "git push poise" in done.err
    found = json.loads(online("release", "verify", packed.digest, "--json").out)
    assert (found["outcome"], found["rule"]) == ("refused", "files")


@pytest.mark.parametrize(
    ("digest", "code", "said"), [("sha256:" + "f" * 64, 3, "poise release list"), ("ff", 5, "too short")]
)
@pytest.mark.usefixtures("packed")
def test_a_digest_that_nobody_released_is_named(
    online: Callable[..., Any], digest: str, code: int, said: str
) -> None:
    for command in ("verify", "provenance", "sbom"):
        done = online("release", command, digest)
        assert done.code == code and said in done.err


def test_a_release_from_before_has_no_envelope_and_says_so(
    house: Any, packed: Release, online: Callable[..., Any]
) -> None:
    old = replace(packed, n=2, digest="sha256:" + "a" * 64)
    house.write(old)
    for command in ("provenance", "sbom"):
        done = online("release", command, old.digest)
        assert done.code == 3 and "Push its commit again" in done.err
