"""Fetching a branch from a repository elsewhere: which remotes are allowed, and git bounded on all sides.

Source: git(1) GIT_ALLOW_PROTOCOL, git-config(1) http.extraHeader, protocol.allow.
"""

from __future__ import annotations

import os
import re
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from poise.adapters.git.command import environment, git
from poise.model.errors import Invalid, TimedOut, Unreachable

FETCH_S: Final = 120.0
REMOTE_CHARS: Final = 500
LOCAL_VARIABLE: Final = "POISE_ALLOW_LOCAL_REMOTES"
SCHEMES: Final = ("https", "http", "ssh")
_USER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9a-fA-F:.]{2,45}\]")
_SSH: Final = "ssh -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=accept-new"
_SETTINGS: Final = {
    "fetch.fsckObjects": "true",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "protocol.ext.allow": "never",
    "core.fsync": "all",
    "gc.auto": "0",
    "credential.helper": "",
}


def checked_remote(remote: str, *, local: bool | None = None) -> str:
    """``remote`` if it may be fetched from; ``Invalid`` otherwise.

    A path or ``file:`` is allowed only where the machine's owner set ``POISE_ALLOW_LOCAL_REMOTES=1``, since
    it reads with the server's rights. A password in the URL would end in logs, so it is refused.
    """
    allowed = os.environ.get(LOCAL_VARIABLE) == "1" if local is None else local
    if not remote.isprintable() or " " in remote or len(remote) > REMOTE_CHARS:
        raise _refused(remote, "It is too long, or holds a space or a sign that cannot be printed.")
    if allowed and remote.startswith(("/", "file:///")):
        return remote
    try:
        parts = urlsplit(remote)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _refused(remote, str(error)) from None
    if parts.scheme not in SCHEMES:
        raise _refused(remote, f"Only {', '.join(SCHEMES)} are fetched from.")
    if parts.password is not None or (parts.username and parts.scheme != "ssh"):
        raise _refused("", "A credential in the URL would end in logs.")
    if parts.username and not _USER.fullmatch(parts.username):
        raise _refused(remote, "That is no user's name.")
    if not _HOST.fullmatch(f"[{host}]" if ":" in host else host):
        raise _refused(remote, "It names no host.")
    if not parts.path.strip("/") or parts.query or parts.fragment:
        raise _refused(remote, "It must end in a path, with nothing after it.")
    return remote


def fetch_branch(repo: Path, remote: str, branch: str, credential: str = "") -> str:
    """Make the branch of ``repo`` what the remote's is, a forced push included; the commit it is at."""
    checked_remote(remote)
    git("check-ref-format", "--branch", branch)
    argv = [
        "git", f"--git-dir={repo}", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
        "--no-recurse-submodules", "--no-auto-maintenance", "--", remote,
        f"+refs/heads/{branch}:refs/heads/{branch}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            argv,
            env=_environment(credential, remote),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=FETCH_S,
            check=False,
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        raise TimedOut(
            "POISE-G120", f"fetching {branch} did not end within {FETCH_S:g} s", where=remote,
            mend="See whether the remote answers: git ls-remote REMOTE",
        ) from None  # fmt: skip
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise Unreachable(
            "POISE-G121", f"{branch} could not be fetched", where=remote, why=_without(said, credential),
            mend="Look at the remote and its credential: poise webhook add FORGE --remote URL",
        )  # fmt: skip
    return git("rev-parse", "--verify", f"refs/heads/{branch}^{{commit}}", repo=repo).decode().strip()


def _environment(credential: str, remote: str) -> dict[str, str]:
    """Settings and the credential travel in the environment: arguments can be read by every user."""
    settings = dict(_SETTINGS)
    if credential and remote.startswith("http"):
        settings["http.extraHeader"] = f"Authorization: Basic {b64encode(credential.encode()).decode()}"
    plain = environment()
    count = int(plain["GIT_CONFIG_COUNT"])
    for index, (name, value) in enumerate(settings.items(), start=count):
        plain |= {f"GIT_CONFIG_KEY_{index}": name, f"GIT_CONFIG_VALUE_{index}": value}
    plain["GIT_CONFIG_COUNT"] = str(count + len(settings))
    local = ":file" if os.environ.get(LOCAL_VARIABLE) == "1" else ""
    plain |= {"GIT_ALLOW_PROTOCOL": f"https:http:ssh{local}", "GIT_SSH_COMMAND": _SSH, "GIT_ASKPASS": ""}
    return plain


def _without(said: str, credential: str) -> str:
    for part in (credential, credential.partition(":")[2]):
        if len(part) >= 4:
            said = said.replace(part, "***")
    return said


def _refused(remote: str, why: str) -> Invalid:
    return Invalid(
        "POISE-G122",
        "this remote is not fetched from",
        where=remote[:200],
        why=why,
        mend="Use https://HOST/OWNER/NAME.git, with --credential for a private one, or ssh://git@HOST/PATH.",
    )
