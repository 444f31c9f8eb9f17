"""A real house in a temporary folder on free ports, driven as a user drives it: git, the CLI, HTTP."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.report import Unmeasured

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
POISE = str(Path(sys.executable).parent / "poise")
COMMAND_S = 120.0
LIVE_S = 120.0
ANSWER_S = 5.0


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def until(happened: Callable[[], Any], patience_s: float, what: str, pause_s: float = 0.05) -> Any:
    """Ask again until the answer is true, and return it. Raises ``Unmeasured`` at the deadline."""
    deadline = time.monotonic() + patience_s
    while True:
        with suppress(OSError, ValueError):
            if found := happened():
                return found
        if time.monotonic() > deadline:
            raise Unmeasured(f"not within {patience_s:g} s: {what}")
        time.sleep(pause_s)


class House:
    """``with House("shop", files) as house``: an app's repository, and a house that it is pushed to.

    ``files``: the app's, by path. ``base``: where the temporary folder is made.
    """

    def __init__(self, project: str, files: dict[str, str], base: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="poise-bench-", dir=base))
        self.project = project
        self.data = self.folder / "data"
        self.app = self.folder / project
        self.port, self.ingress_port = free_port(), free_port()
        self.app.mkdir()
        self._git("init", "-q", "-b", "main")
        self._git("config", "user.name", "bench")
        self._git("config", "user.email", "bench@localhost")
        self.write(files)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """Of every command: this house, no colours, nobody's own git configuration."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        kept["PATH"] = f"{Path(sys.executable).parent}:{kept.get('PATH', '/usr/bin:/bin')}"
        return kept | {"POISE_DATA": str(self.data), "NO_COLOR": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}

    def poise(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command line in the app's folder. Raises ``Unmeasured`` when it fails and ``check``."""
        done = subprocess.run(
            [POISE, *words], cwd=self.app, env=self.environment, capture_output=True, text=True,
            timeout=COMMAND_S, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise Unmeasured(f"poise {' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")
        return done

    def up(self, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Start the control process, or find it running."""
        return self.poise(
            "up", "--port", str(self.port), "--ingress-port", str(self.ingress_port), check=check
        )

    def down(self) -> None:
        """End everything that this house started."""
        with suppress(subprocess.SubprocessError):
            self.poise("down", check=False)
        for process_id in (self.control_pid(), self.keeper_pid()):
            if process_id is not None:
                with suppress(OSError):
                    os.kill(process_id, signal.SIGKILL)

    # -- the app's repository ----------------------------------------------------------------------

    def write(self, files: dict[str, str]) -> None:
        """Write files of the app."""
        for name, text in files.items():
            path = self.app / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, subject: str) -> str:
        """Commit everything; the commit."""
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", subject)
        return self._git("rev-parse", "HEAD").stdout.strip()

    def push(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``git push poise main``."""
        return self._git("push", *words, "poise", "main", check=check)

    def _git(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["git", *words], cwd=self.app, env=self.environment, capture_output=True, text=True,
            timeout=COMMAND_S, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise Unmeasured(f"git {words[0]}: {done.stderr.strip()}")
        return done

    # -- what a user sees --------------------------------------------------------------------------

    def api(self, path: str, body: object = None, headers: dict[str, str] | None = None) -> Any:
        """The API's decoded answer to GET, or to POST of ``body``. Raises OSError when it refuses."""
        sent = {"authorization": f"Bearer {(self.data / 'token').read_text().strip()}", **(headers or {})}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["content-type"] = "application/json"
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, headers=sent)
        with urllib.request.urlopen(asked, timeout=ANSWER_S) as answer:
            return json.loads(answer.read())

    def service(self, name: str) -> Any:
        """One service's status."""
        return self.api(f"/api/v1/projects/{self.project}/environments/production/services/{name}")

    def rollouts(self, name: str) -> list[Any]:
        """A service's rollouts, by number."""
        path = f"/api/v1/projects/{self.project}/environments/production/services/{name}/rollouts"
        return list(self.api(path + "?limit=500")["items"])

    def events(self) -> list[Any]:
        """The project's journal, ascending."""
        found: list[Any] = []
        after = "0"
        while True:
            page = self.api(f"/api/v1/projects/{self.project}/events?limit=500&after={after}")
            found += page["items"]
            after = page.get("next") or ""
            if not after:
                return found

    def journal_text(self) -> str:
        """Every row of the whole journal, of all projects, as the store holds it."""
        with closing(sqlite3.connect(f"file:{self.data / 'poise.db'}?mode=ro", uri=True)) as store:
            return "\n".join(map(str, store.execute("SELECT * FROM event")))

    def ready(self) -> bool:
        """Whether the control process leads."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1.0) as answer:
            status: int = answer.status
            return status == 200

    def get(self, service: str, path: str = "/") -> tuple[int, str]:
        """(status, body) through the ingress; a refusal is an answer too."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.ingress_port}{path}", headers={"host": f"{service}.localhost"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=ANSWER_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def ship(self, subject: str, services: tuple[str, ...], patience_s: float = LIVE_S) -> str:
        """Commit, push, and wait until every service has this commit live; the commit."""
        commit = self.commit(subject)
        self.push()
        self.wait_live(commit, services, patience_s)
        return commit

    def wait_live(self, commit: str, services: tuple[str, ...], patience_s: float = LIVE_S) -> None:
        """Until this commit's release is live with all its replicas ready."""

        def live() -> bool:
            return all(is_live(self.service(name), commit) for name in services)

        try:
            until(live, patience_s, f"{', '.join(services)} live at {commit[:8]}", pause_s=0.1)
        except Unmeasured as late:
            why = [self.service(name)["sentence"] + " " + self.poise("why", name).stdout for name in services]
            raise Unmeasured(f"{late}\n" + "\n".join(why)) from None

    # -- processes ---------------------------------------------------------------------------------

    def control_pid(self) -> int | None:
        """The control process, if it lives."""
        try:
            found = json.loads((self.data / "run" / "api.json").read_text())["pid"]
            command = Path(f"/proc/{found}/cmdline").read_bytes()
        except (OSError, ValueError, KeyError):
            return None
        return int(found) if str(self.data).encode() in command else None

    def kill_control(self) -> int | None:
        """SIGKILL the control process and see it gone; its pid."""
        found = self.control_pid()
        if found is not None:
            kill_and_see(found)
        return found

    def keeper_pid(self) -> int | None:
        """The keeper, if it answers."""
        try:
            return int(self.keeper("hello")["pid"])
        except (OSError, ValueError, KeyError):
            return None

    def keeper(self, op: str, **fields: object) -> Any:
        """One question to the keeper's socket. Raises OSError when nobody answers."""
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(ANSWER_S)
            asked.connect(str(self.data / "run" / "keeper.sock"))
            asked.sendall(json.dumps({"id": 1, "op": op, **fields}).encode() + b"\n")
            answer = json.loads(asked.makefile("rb").readline())
        return answer["result"]

    def processes(self, prefix: str) -> list[Any]:
        """What the keeper runs under keys that begin so and has a pid, by key."""
        listed = self.keeper("list")["processes"]
        mine = [one for one in listed if one["key"].startswith(prefix) and one.get("pid")]
        return sorted(mine, key=lambda one: str(one["key"]))

    def replicas(self, service: str) -> list[Any]:
        """A service's processes."""
        return self.processes(f"{self.project}/production/{service}/")


def is_live(status: Any, commit: str) -> bool:
    """Whether a service's status says that this commit is live, alone and whole."""
    live = status["live"]
    if live is None or live["commit"] != commit or status["active"] is not None:
        return False
    mine = [one for one in status["replicas"] if one["rollout"] == live["n"] and one["ready"]]
    acked = (status["route"] or {}).get("acked", {})
    return len(mine) >= status["service"]["replicas"]["min"] and acked.get(str(live["n"])) == 100


def kill_and_see(process_id: int, patience_s: float = 5.0) -> None:
    """SIGKILL a process that need not be our child, and return once it is dead."""
    descriptor = os.pidfd_open(process_id)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        import select

        select.select([descriptor], [], [], patience_s)
    finally:
        os.close(descriptor)


def rss_mb(process_id: int) -> float:
    """Resident memory in MB (10^6 bytes), shared pages included."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise Unmeasured(f"process {process_id} has no memory")


def shop_files() -> dict[str, str]:
    """The example shop, as text by path."""
    return _folder(EXAMPLES / "shop")


def _folder(folder: Path) -> dict[str, str]:
    listed = subprocess.run(
        ["git", "ls-files", "."], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return {name: (folder / name).read_text() for name in listed}
