"""A release that was really packed and really signed, and hands that tamper with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from msgspec import Struct
from msgspec.structs import replace

from poise.adapters.artifacts import FolderArtifacts
from poise.adapters.bill.folder import FolderBills
from poise.adapters.memory import MemoryStore
from poise.adapters.signing import KeyFile, fits
from poise.delivery.pipeline.attesting import Attester, Installation
from poise.delivery.pipeline.plan import Artifact, Sources
from poise.delivery.provenance.deeds import Verifier
from poise.model.attestation import Attestation, TrustedKey, Verification
from poise.model.delivery import ChangeClass, Release, Rollout, RolloutState, Run
from poise.model.record import Write
from poise.model.seal import sign
from poise.model.service import Service
from poise.ports.store import Transaction

SIGNING_KEY = b"the installation's"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPEC = Service(project="shop", environment="production", name="web", command="run")
WHO = Installation(builder="https://poise.dev/installation/abc", version="0.1.0", url="http://127.0.0.1:8700")
FILES = {"app.py": "print('hello')\n", "requirements.txt": "flask==3.1.0\n", "lib/part.py": "x = 1\n"}


class Shelf:
    """One installation's store, keys and releases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryStore()
        self.releases = folder / "releases"
        self.artifacts = FolderArtifacts(self.releases)
        self.key_file = KeyFile(folder)
        self.verifier = Verifier(self.store, self.artifacts, fits, SIGNING_KEY)
        self.trust(self.key_file)

    def write(self, *bodies: Struct) -> None:
        writes = [Write(kind=type(body).__name__, key=body.key, body=body) for body in bodies]  # type: ignore[attr-defined]
        anyio.run(self.store.commit, Transaction(at=NOW, writes=writes))

    def trust(self, key_file: KeyFile, **fields: object) -> TrustedKey:
        base = TrustedKey(
            key_id=key_file.key_id, public_pem=key_file.public_pem, name="this installation", own=True,
            made_at=NOW - timedelta(days=1),
        )  # fmt: skip
        made = sign(replace(base, **fields), SIGNING_KEY)
        self.write(made)
        return made

    def ship(self, n: int = 1, files: dict[str, str] = FILES, key_file: KeyFile | None = None) -> Release:
        """Pack, sign and record a release, as the pipeline does."""
        work = self.folder / f"work-{n}"
        for name, text in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text)
        digest = self.artifacts.pack(work, ".")
        run = Run(project="shop", n=n, commit=f"{n:040x}", branch="main", workflow="ci", created_at=NOW)
        attester = Attester(key_file or self.key_file, FolderBills(self.releases), WHO)
        artifact = Artifact(service="web", job="build", path=".", specs=(SPEC,))
        sources = Sources(workflows={".github/workflows/ci.yml": "on: push"}, declarations="kind: Service")
        bill = attester.bill(artifact, digest)
        made = attester.attest(run, sources, artifact, digest, bill, None, NOW)
        release = Release(
            project="shop", service="web", n=n, digest=digest, run=n, commit=run.commit, summary="v",
            change_class=ChangeClass.FEATURE, committed_at=NOW, created_at=NOW, specs=(SPEC,),
        )  # fmt: skip
        attestation = Attestation(
            project="shop", service="web", n=n, digest=digest, at=NOW, envelope=made.envelope,
            key_id=made.key_id, bill=made.bill,
        )  # fmt: skip
        self.write(release, attestation)
        return release

    def attestation(self, n: int = 1) -> Attestation:
        found, _ = anyio.run(self.store.get, Attestation, f"shop/web/{n:06d}")
        assert found is not None
        return found

    def envelope(self, text: str, n: int = 1) -> None:
        """Another envelope in the place of the n-th release's."""
        self.write(replace(self.attestation(n), envelope=text))

    def folder_of(self, release: Release) -> Path:
        return self.artifacts.open(release.digest)

    def check(self, release: Release) -> Verification:
        return anyio.run(self.verifier.check, release, NOW)

    def starting(self, release: Release, **fields: object) -> Rollout:
        """A rollout of it that is about to start, on record."""
        base = Rollout(
            project="shop", environment="production", service="web", n=1, release=release.n,
            digest=release.digest, revision="r", commit=release.commit, summary="v",
            change_class=ChangeClass.FEATURE, spec=SPEC, state=RolloutState.STARTING, created_at=NOW,
            started_at=NOW,
        )  # fmt: skip
        made = replace(base, **fields)
        self.write(made)
        return made


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shelf, Release]:
    """For laws: a release that every example finds and leaves whole."""
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    return shelf, shelf.ship()
