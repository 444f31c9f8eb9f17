"""An app that looks for what is not its own, pushes that must be refused, and what no log may hold."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.house import House, until
from bench.patient import WORKFLOW

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SECRET = "hunter2-of-the-neighbour"

HOSTILE = """import glob, json, os, socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TARGETS = json.loads(os.environ["TARGETS"])


def tried(name, deed):
    try:
        return [name, "got " + str(deed())[:60]]
    except Exception as error:
        return [name, "refused: " + type(error).__name__]


def read(path):
    with open(path, "rb") as file:
        found = file.read(40)
    if not found:
        raise OSError("empty")
    return found


def listed(path):
    found = os.listdir(path)
    if not found:
        raise OSError("empty")
    return found


def connect(path):
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(path)
    return "connected"


def neighbours():
    found = [path for path in glob.glob("/proc/[0-9]*/environ") if SECRET in open(path, "rb").read()]
    if not found:
        raise OSError("nothing")
    return found


SECRET = os.environ["LOOK_FOR"][::-1].encode()


def write(path):
    with open(path, "w") as file:
        file.write("x")
    return "written"


def attempts():
    out = [tried("list " + path, lambda: listed(path)) for path in TARGETS["folders"]]
    out += [tried("read " + path, lambda: read(path)) for path in TARGETS["files"]]
    out += [tried("connect " + path, lambda: connect(path)) for path in TARGETS["sockets"]]
    out.append(tried("secrets of others", neighbours))
    out.append(tried("see the keeper", lambda: os.kill(TARGETS["pid"], 0)))
    out.append(tried("shared memory", lambda: listed("/dev/shm")))
    out.append(tried("change the app", lambda: write("/app/x")))
    for path in TARGETS["files"]:
        tried("write", lambda: write(path))  # what it writes lands in its own mask; the test looks outside
    return out


class Hostile(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(attempts() if self.path == "/try" else "ok").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Hostile).serve_forever()
"""


def service(name: str, env: dict[str, str]) -> str:
    return (
        f"apiVersion: poise.dev/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n"
        f"  command: python3 server.py\n  port: 8080\n  env: {json.dumps(env)}\n"
    )


def targets(house: House) -> str:
    data = house.data
    return json.dumps(
        {
            "folders": [str(data), str(data / "run"), str(data / "repos"), str(Path.home() / ".ssh")],
            "files": [
                str(data / name) for name in ("token", "poise.db", "run/keeper.journal", "run/api.json")
            ]
            + [str(one) for one in data.iterdir() if one.is_file()],
            "sockets": [str(data / "run" / "keeper.sock"), str(data / "envoy" / "admin.sock")],
            "pid": house.keeper_pid(),
        }
    )


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Two services with the hostile app; the data folder is not below /tmp, which a sandbox hides anyway."""
    files = {"server.py": HOSTILE, ".github/workflows/ci.yml": WORKFLOW, "poise.yaml": ""}
    with House("mixed", files, base=Path("/var/tmp")) as house:
        spec = service("neighbour", {"TARGETS": "{}", "LOOK_FOR": "none", "SECRET": SECRET})
        house.write({"poise.yaml": spec})
        house.up()
        spec += "---\n" + service("hostile", {"TARGETS": targets(house), "LOOK_FOR": SECRET[::-1]})
        house.write({"poise.yaml": spec})
        house.ship("feat: a hostile app", ("neighbour", "hostile"))
        yield house


def test_a_hostile_app_reads_nothing_that_is_not_its_own(house: House) -> None:
    """The promise of the sandbox, tried from inside: data folder, token, key, sockets, others' secrets."""
    kept = [house.data / name for name in ("token", "run/api.json")]
    before = [one.read_bytes() for one in kept]
    status, body = house.get("hostile", "/try")
    assert status == 200
    tried = json.loads(body)
    assert len(tried) > 15
    assert [name for name, outcome in tried if outcome.startswith("got")] == []
    assert [one.read_bytes() for one in kept] == before
    assert house.poise("audit", "verify").returncode == 0


def test_the_probe_of_the_hostile_app_can_succeed_at_all(house: House) -> None:
    """The attempts above are real: what they look for exists, for its owner."""
    assert (house.data / "token").read_text()
    neighbour = house.replicas("neighbour")[0]["pid"]
    assert SECRET.encode() in Path(f"/proc/{neighbour}/environ").read_bytes()
    assert Path(house.data / "run" / "keeper.sock").is_socket()


def test_a_push_that_is_no_fast_forward_is_refused_and_says_so(house: House) -> None:
    """Released history is never rewritten."""
    house._git("commit", "-q", "--amend", "-m", "feat: another past")
    refused = house.push("--force", check=False)
    house._git("reset", "-q", "--soft", "ORIG_HEAD", check=False)
    assert refused.returncode != 0
    said = refused.stderr.lower()
    assert "fast-forward" in said or "fast forward" in said, said
    house._git("fetch", "-q", "poise")
    house._git("reset", "-q", "--hard", "FETCH_HEAD", check=False)
    house._git("reset", "-q", "--hard", "poise/main", check=False)


def test_a_mistyped_spec_is_refused_with_its_place_and_the_nearest_name(house: House) -> None:
    """Nothing is applied, and the person who pushed learns what to type."""
    good = (house.app / "poise.yaml").read_text()
    house.write({"poise.yaml": good.replace("  command:", "  comand:", 1)})
    house.commit("feat: a typo")
    refused = house.push(check=False)
    house._git("reset", "-q", "--hard", "HEAD~1")
    assert refused.returncode != 0
    assert "poise.yaml:5:3" in refused.stderr, refused.stderr
    assert "comand" in refused.stderr and "command" in refused.stderr.replace("comand", "")
    assert "Nothing was applied" in refused.stderr


def test_a_workflow_with_an_unknown_key_is_refused_with_its_line(house: House) -> None:
    """A key that is silently ignored is a step that somebody believes was run."""
    house.write({".github/workflows/ci.yml": WORKFLOW + "        continue-on-error: true\n"})
    house.commit("ci: what is not supported")
    refused = house.push(check=False)
    house._git("reset", "-q", "--hard", "HEAD~1")
    assert refused.returncode != 0
    assert "continue-on-error" in refused.stderr and "ci.yml:9" in refused.stderr, refused.stderr


def test_no_log_holds_a_token_or_a_secret(house: House) -> None:
    """Logs are read, copied and mailed by people who hold neither."""
    token = (house.data / "token").read_text().strip()
    until(lambda: house.poise("status").returncode == 0, 10, "one more authenticated call")
    forms = [token.encode(), base64.b64encode(f"poise:{token}".encode()), SECRET.encode()]
    logs = [one for one in (house.data / "logs").rglob("*") if one.is_file()]
    assert logs
    found = [(one.name, form[:6]) for one in logs for form in forms if form in one.read_bytes()]
    assert found == []
    said = house.poise("logs", "hostile").stdout + house.poise("audit", "log", "--last", "200").stdout
    assert token not in said
