"""Where the keeper keeps things: DATA/run for what is durable, a tmpfs folder for what holds secrets."""

from __future__ import annotations

import json
import os
import stat

from . import container
from .loop import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Folders:
    """Paths under one data folder; creates what is missing, all of it for the owner only."""

    def __init__(self, data: str) -> None:
        self.data = os.path.realpath(data)
        self.run = self.data + "/run"
        self.statuses = self.run + "/status"
        for path in (self.data, self.run, self.statuses, self.data + "/logs"):
            os.makedirs(path, mode=0o700, exist_ok=True)
        self.socket = self.run + "/keeper.sock"
        self.lock = self.run + "/keeper.lock"
        self.journal = self.run + "/keeper.journal"
        self.own_log = self.data + "/logs/keeper.log"
        self.specs = _secret_folder(self.run)

    def status(self, nonce: str) -> str:
        """Return the file that bwrap appends to for one start of a workload."""
        return f"{self.statuses}/{nonce}.json"

    def mark(self, nonce: str) -> str:
        """Return the file that says a forked child never ran."""
        return f"{self.statuses}/{nonce}.unstarted"

    def env_file(self, nonce: str) -> str:
        """Return the file that holds the environment of one start of a container, secrets included."""
        return f"{self.specs}/{nonce}.env"

    def save_spec(self, spec_id: str, raw: dict[str, Any]) -> None:
        """Keep a specification, secrets included, in a 0600 file. Raises OSError."""
        path = f"{self.specs}/{spec_id}.json"
        os.makedirs(self.specs, mode=0o700, exist_ok=True)  # a logout may have emptied the tmpfs
        file = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(file, "w") as out:
            json.dump(raw, out)
            out.flush()
            os.fsync(file)
        os.rename(path + ".new", path)

    def load_spec(self, spec_id: str) -> dict[str, Any] | None:
        """Return a kept specification, or None: gone with its tmpfs at a reboot."""
        try:
            with open(f"{self.specs}/{spec_id}.json") as file:
                raw = json.load(file)
        except (OSError, ValueError):
            return None
        return raw if isinstance(raw, dict) else None

    def drop_spec(self, spec_id: str) -> None:
        """Forget a specification and its secrets."""
        _unlink(f"{self.specs}/{spec_id}.json")

    def drop_start(self, nonce: str) -> None:
        """Remove the files of one start."""
        _unlink(self.status(nonce))
        _unlink(self.mark(nonce))
        _unlink(self.env_file(nonce))
        _unlink(container.pid_file(self.env_file(nonce)))

    def leave(self) -> None:
        """Remove the folder of secrets, after the last workload ended."""
        try:
            os.rmdir(self.specs)
        except OSError:
            pass

    def tidy(self, spec_ids: set[str]) -> None:
        """Remove files that belong to no known workload (left by a crash)."""
        for folder in (self.specs, self.statuses):
            for name in os.listdir(folder):
                if name.partition(".")[0] not in spec_ids:
                    _unlink(f"{folder}/{name}")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _secret_folder(run: str) -> str:
    """Return a folder of ours, on tmpfs if the machine has one, named after the run folder it serves."""
    about = os.stat(run)
    name = f"poise-{os.getuid()}-{about.st_dev:x}-{about.st_ino:x}"
    for base in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR", "")):  # noqa: S108 - the folder is checked below
        if not base.startswith("/") or not os.path.isdir(base):
            continue
        path = f"{base}/{name}"
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            found = os.lstat(path)
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if ours and stat.S_IMODE(found.st_mode) == 0o700:
                return path
            say(f"{path} is not a folder of ours with mode 0700: not used for secrets")
        except OSError:
            continue
    path = run + "/specs"
    say(f"no tmpfs (/dev/shm, XDG_RUNTIME_DIR) can be used: secrets are kept on disk, in {path}")
    os.makedirs(path, mode=0o700, exist_ok=True)
    os.chmod(path, 0o700)
    return path
