"""Config and secrets from the command line: what is typed, what is told, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
PASSWORD = "correct-horse-42-battery"


def test_config_is_set_listed_compared_and_rolled_back(online: Run) -> None:
    done = online("config", "set", "web", "A=1", "URL=http://x/?a=b", "--reason", "first")
    assert done.code == 0, done.err
    assert "+ URL: http://x/?a=b" in done.out
    assert "it passes the gate" in done.out
    assert "poise why web" in done.out
    assert online("config", "set", "web", "A=2", "--unset", "URL", "--fix").code == 0
    assert online("config", "diff", "web", "1", "2").out == "~ A: 1 -> 2\n- URL: http://x/?a=b\n"
    assert online("config", "get", "web", "A").out == "2\n"
    back = online("config", "rollback", "web", "--json")
    assert json.loads(back.out)["n"] == 3
    listed = online("config", "list", "web").out
    assert "config 3; nothing is live" in listed
    assert "http://x/?a=b" in listed
    assert "same values" in online("config", "diff", "web", "1", "3").out
    assert "Nothing to change" in online("config", "set", "web", "A=1").out


def test_a_secret_comes_from_stdin_or_a_file_and_is_never_shown(
    online: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
    told = [online("secret", "set", "web", "DB_PASSWORD", "--reason", f"the new one is {PASSWORD}")]
    (tmp_path / "key.pem").write_text("-----BEGIN-----\nabcdefgh12345678\n-----END-----\n")
    told.append(online("secret", "set", "web", "KEY", "--from-file", str(tmp_path / "key.pem"), "--security"))
    told += [online("secret", "list", "web", *more) for more in ((), ("--json",))]
    told += [
        online("secret", "diff", "web", "0", "2"),
        online("audit", "log"),
        online("audit", "log", "--json"),
    ]
    assert [done.code for done in told] == [0] * len(told), told
    assert "+ KEY" in told[1].out
    for done in told:
        assert PASSWORD not in done.out + done.err
        assert "abcdefgh12345678" not in done.out + done.err


@pytest.mark.parametrize(
    ("words", "code", "mend"),
    [
        (("secret", "set", "web", f"DB_PASSWORD={PASSWORD}"), 5, "poise secret set web DB_PASSWORD"),
        (("secret", "set", "web", "A", "B"), 5, "poise secret set web A"),
        (("secret", "set", "web", "A", "--from-file", "absent"), 3, "Name a file"),
        (("secret", "set", "web"), 5, "Name at least one"),
        (("config", "set", "web", "A"), 5, "NAME=VALUE"),
        (("config", "get", "web", "A"), 3, "poise config set web A=VALUE"),
        (("config", "diff", "web", "1", "2"), 3, "poise config list web"),
        (("config", "rollback", "web", "--to", "7"), 3, "poise config list web"),
        (("config", "list", "wob"), 3, "poise status"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_told_with_a_mend(
    online: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, mend: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    done = online(*words)
    assert (done.code, mend in done.err) == (code, True), done.err
    assert PASSWORD not in done.out + done.err


def test_a_backup_leaves_the_key_of_the_secrets_out_and_says_so(
    house: Any, online: Run, tmp_path: Path
) -> None:
    import tarfile

    done = online("backup", str(tmp_path / "b.tgz"))
    assert "secret.key" in done.err
    with tarfile.open(tmp_path / "b.tgz") as archive:
        held = [archive.extractfile(one) for one in archive.getmembers() if one.isfile()]
        key = (house.data / "secret.key").read_bytes().strip()
        assert all(key not in file.read() for file in held if file)
