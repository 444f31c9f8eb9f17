"""A secret that is looked for in everything that Poise shows, and a setting that breaks the app."""

import base64
import stat
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bench.house import ANSWER_S, POISE, House, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
CANARY = "canary-7f3a91c4e2-of-the-vault"
FORMS = (CANARY, base64.b64encode(CANARY.encode()).decode().rstrip("="), CANARY.encode().hex())
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

print("started with TOKEN", os.environ.get("TOKEN"), flush=True)


class Web(BaseHTTPRequestHandler):
    def do_GET(self):
        broken = self.path != "/" and os.environ.get("MODE") == "broken"
        body = os.environ.get("TOKEN", "none")[::-1].encode()
        self.send_response(500 if broken else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Web).serve_forever()
"""
WEB = "/api/v1/projects/vault/environments/production/services/web"
ANSWERS = (
    WEB, f"{WEB}/secret", f"{WEB}/secret/0/differences/1", f"{WEB}/config", f"{WEB}/replicas",
    f"{WEB}/rollouts", "/", "/services/vault/production/web", "/rollouts/vault/production/web/2", "/audit",
    "/projects/vault/delivery", "/projects/vault/scorecard", "/api/v1/openapi.json",
)  # fmt: skip
COMMANDS = (
    "secret list web", "secret list web --json", "secret diff web --json", "status --json", "why web --json",
    "logs web", "logs web --json", "logs web --grep started", "explain service/web --json",
    "plan --json", "drift --json", "doctor --json", "dora web --json", "config list web --json",
    "audit verify",
)  # fmt: skip


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """One service, live; it prints its secret when it starts, as apps do."""
    with House("vault", {"poise.yaml": SPEC, "server.py": SERVER}) as house:
        house.up()
        house.ship("feat: web", ("web",))
        yield house


def settled(house: House, n: int) -> str:
    """How the n-th rollout of web ended."""

    def ended() -> str | None:
        one = next((one for one in house.rollouts("web") if one["n"] == n), None)
        final = ("live", "rolled_back", "failed", "superseded")
        return one["state"] if one and one["state"] in final else None

    return str(until(ended, 90.0, f"rollout {n} is over"))


def holding(folder: Path) -> dict[str, int]:
    """The files below ``folder`` that hold the secret, with their modes."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            body = path.read_bytes()
            if any(form.encode() in body for form in FORMS):
                found[str(path.relative_to(folder))] = stat.S_IMODE(path.stat().st_mode)
    return found


def test_a_secret_is_found_in_nothing_that_poise_shows(house: House) -> None:
    """Its app prints it when it starts; all else that could tell it is Poise."""
    asked = subprocess.run(
        [POISE, "secret", "set", "web", "TOKEN", "--reason", "a new vault"],
        cwd=house.app, env=house.environment, input=CANARY, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert settled(house, 2) == "live"
    assert house.get("web")[1] == CANARY[::-1], "the app has it"
    shown = {"secret set": asked.stdout + asked.stderr, "journal": house.journal_text()}
    shown |= {f"poise {words}": said(house, words) for words in COMMANDS}
    shown |= {path: answer(house, path) for path in ANSWERS}
    shown["argv"] = "\n".join(command_lines())
    shown["the logs of Poise itself"] = "".join(
        path.read_text() for path in (house.data / "logs").glob("*.log")
    )
    assert [name for name, text in shown.items() if not text] == []
    assert [name for name, text in shown.items() if any(form in text for form in FORMS)] == []
    assert "started with TOKEN" in shown["poise logs web --grep started"], "the line itself is shown"


def test_what_holds_a_secret_on_disk_is_the_owners_alone_and_in_no_backup(house: House) -> None:
    """The app's own output and what the keeper restarts it from; never the store."""
    found = holding(house.data)
    assert {name: mode for name, mode in found.items() if mode & 0o077} == {}
    assert [name for name in found if ".db" in name] == []
    copy = house.folder / "copy.tar"
    house.poise("backup", str(copy))
    assert not any(form.encode() in copy.read_bytes() for form in FORMS)


def test_a_setting_that_breaks_the_app_ends_at_the_canary_and_does_not_return(house: House) -> None:
    house.poise("config", "set", "web", "MODE=broken", "--reason", "what could go wrong")
    with load(house):
        assert settled(house, 3) == "rolled_back"
        live = [one for one in house.rollouts("web") if one["state"] == "live"]
        assert [one["config"] for one in live] == [0], "the others never had it"
        house.poise("config", "set", "web", "COLOUR=blue", "--reason", "harmless")
        assert settled(house, 4) == "live"
    assert "rejected" in said(house, "config list web")
    assert "MODE" not in house.api(f"{WEB}/config/2")["items"][0]["name"]
    assert house.get("web", "/any")[0] == 200


@contextmanager
def load(house: House) -> Iterator[None]:
    """Users, at some forty requests a second."""
    over = threading.Event()

    def visit() -> None:
        while not over.wait(0.05):
            with suppress(OSError):
                house.get("web", "/any")

    users = [threading.Thread(target=visit) for _ in range(2)]
    for user in users:
        user.start()
    try:
        yield
    finally:
        over.set()
        for user in users:
            user.join()


def said(house: House, words: str) -> str:
    """What a command prints."""
    done = house.poise(*words.split(), check=False)
    return done.stdout + done.stderr


def command_lines() -> Iterator[str]:
    """Of every process on this machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes().decode(errors="replace")


def answer(house: House, path: str) -> str:
    """What the server answers to its owner."""
    token = (house.data / "token").read_text().strip()
    asked = urllib.request.Request(
        f"http://127.0.0.1:{house.port}{path}", headers={"authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(asked, timeout=ANSWER_S) as answer:
        return str(answer.read().decode())
