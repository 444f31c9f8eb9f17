"""One git command, run with an environment of its own so that nobody's configuration changes the answer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from poise.model.errors import PoiseError, TimedOut, Unreachable

TIMEOUT_S: Final = 120.0
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for git: no user or system configuration, no prompt, and its own repositories are safe.

    ``safe.directory`` counts only from protected configuration, to which these variables belong; without
    it git refuses a data folder that another user owns. Source: git-config(1), "safe.directory".
    """
    return {
        "PATH": os.environ.get("PATH", PATH),
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        **(extra or {}),
    }


def git(*args: str, repo: Path | None = None, env: Mapping[str, str] | None = None) -> bytes:
    """Standard output of ``git args``; ``PoiseError`` with git's words when it fails."""
    done = attempt(*args, repo=repo, env=env)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise PoiseError(
            "POISE-G101",
            f"git {args[0]} failed with exit code {done.returncode}",
            where=str(repo or ""),
            why=said,
            mend="Run `poise doctor`.",
        )
    return done.stdout


def attempt(
    *args: str, repo: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """As ``git``, for a caller to whom a failure is an answer."""
    place = [] if repo is None else [f"--git-dir={repo}"]
    try:
        return subprocess.run(
            ["git", *place, *args],
            env=environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            cwd="/",
        )
    except FileNotFoundError as error:
        raise Unreachable(
            "POISE-G102", "git is not installed", why=str(error), mend="Run `apt-get install git`."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise TimedOut(
            "POISE-G103", f"git {args[0]} did not end within {TIMEOUT_S:g} s", where=str(repo or ""),
            mend="Run `poise doctor`.",
        ) from error  # fmt: skip
