"""The real command line, in this process or its own, against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where these tests run in a workflow of GitHub, its event is not theirs."""
    monkeypatch.delenv("GITHUB_EVENT_PATH", raising=False)


@pytest.fixture
def poise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run a command in this process, in an empty folder, with no server unless ``house`` is served."""
    from poise.cli.entry import run

    folder = tmp_path / "shop"
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("POISE_DATA", str(tmp_path / "data"))
    for name in ("POISE_TOKEN", "POISE_PROJECT"):
        monkeypatch.delenv(name, raising=False)

    def command(*words: str) -> Done:
        capsys.readouterr()
        code = run(list(words))
        told = capsys.readouterr()
        return Done(code, told.out, told.err)

    return command


@pytest.fixture
def online(house: Any, served: str, poise: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> Any:
    """As ``poise``, with a server and the owner's token."""
    monkeypatch.setenv("POISE_TOKEN", house.credentials["owner"])
    return poise


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Done]:
    """Run a command as a process of its own."""

    def command(*words: str, **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, *words],
            capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
            env={**os.environ, "POISE_DATA": str(tmp_path / "data"), **environment},
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    return command
