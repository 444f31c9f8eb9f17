"""From the push to the refusal: a release that was tampered with does not start, and users notice nothing."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bench.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SPEC = """apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec:
  command: python3 server.py
  port: 8080
  replicas: 2
  rollout: {steps: [50], step: 1s, maxBake: 4s, warmup: 1s, drain: 1s, minCanaryRequests: 5,
    onUnproven: promote}
"""
SERVER = """import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"%s")


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Web).serve_forever()
"""


def files(said: str) -> dict[str, str]:
    return {"poise.yaml": SPEC, "server.py": SERVER % said, "requirements.txt": "flask==3.1.0\n"}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Two releases; the second is live."""
    with House("vouch", files("one")) as house:
        house.up()
        house.ship("feat: one", ("web",))
        house.write(files("two"))
        with users(house) as seen:
            house.ship("feat: two", ("web",))
        assert {status for status, _ in seen} == {200}
        yield house


@contextmanager
def users(house: House) -> Iterator[list[tuple[int, str]]]:
    """Some forty requests a second; what they got."""
    over, seen = threading.Event(), []

    def visit() -> None:
        while not over.wait(0.05):
            with suppress(OSError):
                seen.append(house.get("web"))

    threads = [threading.Thread(target=visit) for _ in range(2)]
    for one in threads:
        one.start()
    try:
        yield seen
    finally:
        over.set()
        for one in threads:
            one.join()


def release(house: House, n: int) -> Any:
    """The n-th release."""
    return house.api("/api/v1/projects/vouch/releases/web")["items"][n - 1]


def folder(house: House, n: int) -> Path:
    return house.data / "releases" / release(house, n)["digest"].removeprefix("sha256:")


def ended(house: House, n: int) -> Any:
    """The n-th rollout, once it is over."""

    def over() -> Any:
        one = next((one for one in house.rollouts("web") if one["n"] == n), None)
        return one if one and one["state"] in ("live", "rolled_back", "failed", "superseded") else None

    return until(over, 90.0, f"rollout {n} is over")


def test_a_push_is_signed_verified_and_told(house: House) -> None:
    digest = release(house, 2)["digest"]
    said = house.poise("release", "verify", digest).stdout
    assert said.startswith("verified: release 2 was built by run 2")
    envelope = json.loads(house.poise("release", "provenance", digest).stdout)
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    bill = json.loads(house.poise("release", "sbom", digest).stdout)
    assert [one["purl"] for one in bill["components"]] == ["pkg:pypi/flask@3.1.0"]
    assert "provenance: release 2 was built by run 2" in house.poise("why", "web").stdout


def test_a_way_back_to_a_release_that_was_tampered_with_is_refused_and_users_are_served(house: House) -> None:
    (folder(house, 1) / "server.py").write_text(SERVER % "bad")
    with users(house) as seen:
        house.poise("rollback", "web", "--reason", "to see")
        gone = ended(house, 3)
    assert gone["state"] == "failed" and "changed since they were packed" in gone["reason"]
    assert set(seen) == {(200, "two")}, "nobody met it"
    told = house.poise("why", "web").stdout
    assert "changed since they were packed" in told and "poise drift" in told
    refused = house.poise("release", "verify", release(house, 1)["digest"], check=False)
    assert refused.returncode == 5 and refused.stderr.startswith("POISE-V119")


def test_a_release_whose_envelope_was_taken_away_is_refused(house: House) -> None:
    """By whoever can edit the store."""
    (folder(house, 1) / "server.py").write_text(SERVER % "one")
    with closing(sqlite3.connect(house.data / "poise.db")) as store, store:
        store.execute("DELETE FROM object WHERE kind = 'Attestation' AND key LIKE '%/000001'")
    refused = house.poise("release", "verify", release(house, 1)["digest"], check=False)
    assert refused.returncode == 5 and refused.stderr.startswith("POISE-V120")
    house.poise("deploy", "web", "--release", "1", "--reason", "to see")
    assert ended(house, 4)["state"] == "failed"
    assert house.get("web") == (200, "two")


def test_after_a_rotation_old_releases_start_until_the_old_key_is_removed(house: House) -> None:
    old = house.poise("key", "list", "--json")
    (first,) = json.loads(old.stdout)
    house.poise("key", "rotate", "--reason", "yearly")
    digest = release(house, 2)["digest"]
    assert house.poise("release", "verify", digest).returncode == 0
    house.poise("key", "remove", first["key_id"], "--reason", "it leaked")
    refused = house.poise("release", "verify", digest, check=False)
    assert refused.stderr.startswith("POISE-V113") and "it leaked" in refused.stderr
    assert house.get("web") == (200, "two"), "what runs goes on"
    house.write(files("six"))
    with users(house):
        house.ship("feat: signed by the new key", ("web",))
    assert house.poise("release", "verify", release(house, 3)["digest"]).returncode == 0
