"""Each exit code by a command that earns it; data on stdout, talk on stderr, errors in four parts."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from poise.model.balance import Budget
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.service import Service

Run = Callable[..., Any]
GOOD = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec:
  command: python3 server.py
  port: 8080
"""
SPOILED = GOOD.replace("command:", "comand:")


@pytest.fixture
def spec(poise: Run) -> Callable[[str], Path]:
    """Write poise.yaml where the command runs."""

    def write(text: str) -> Path:
        path = Path.cwd() / "poise.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    "words",
    [
        ("status",), ("slo", "web"), ("budget", "web"), ("why", "web"), ("logs", "web"),
        ("audit", "verify"), ("audit", "log"), ("plan",), ("apply",), ("login",),
        ("restart", "web"), ("deploy", "web"),
        ("gate", "override", "web", "--reason", "we must"), ("explain", "service/web"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_0_with_json_every_command_prints_only_json(
    online: Run, spec: Callable[[str], Path], words: tuple[str, ...]
) -> None:
    spec(GOOD)
    done = online(*words, "--json")
    assert done.code == 0, done.err
    for line in done.out.splitlines():
        json.loads(line)
    plain = online(*words)
    assert plain.code == 0, plain.err
    assert "\x1b[" not in plain.out


def test_1_a_broken_chain(house: Any, online: Run) -> None:
    house.store._engine.raw_connection().cursor().execute(
        "UPDATE event SET body = replace(body, 'wrote', 'wrung') WHERE sequence = 2"
    ).connection.commit()
    done = online("audit", "verify")
    assert (done.code, done.out) == (1, "")
    assert "POISE-E601" in done.err
    assert "event 2 was changed" in done.err
    as_json = online("audit", "verify", "--json")
    assert (as_json.code, json.loads(as_json.out)["chain_ok"]) == (1, False)


def test_1_a_role_that_does_not_allow_it(house: Any, online: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POISE_TOKEN", house.credentials["viewer"])
    done = online("restart", "web")
    assert done.code == 1
    assert "it needs the role operator; viewer has viewer" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("statu",), 'Did you mean "status"?'),
        (("status", "--jsn"), "Did you mean --json?"),
        (("gate", "chek"), 'Did you mean "check"?'),
        (("logs", "--lines", "many"), 'unable to convert "many" into int'),
        (("slo",), "requires an argument"),
    ],
)
def test_2_a_command_that_is_not_understood(poise: Run, words: tuple[str, ...], said: str) -> None:
    done = poise(*words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.splitlines()[-1].strip().startswith("Run: poise")


def test_3_a_service_that_is_not_there(online: Run) -> None:
    done = online("why", "wep")
    assert (done.code, done.out) == (3, "")
    assert "The services there are: web." in done.err
    parts = json.loads(online("why", "wep", "--json").err)
    assert set(parts) == {"code", "what", "where", "why", "mend"}


@pytest.mark.parametrize("name", ["a b", "é", "a?b", "a#b", "%2e", "x" * 90])
def test_3_a_strange_name_is_only_not_found(online: Run, name: str) -> None:
    done = online("why", name)
    assert done.code == 3, done.err


def test_3_a_file_that_is_not_there(poise: Run) -> None:
    for words in (("explain", "service/web"), ("restore", "none.tgz"), ("restore", "--verify", "none.tgz")):
        assert poise(*words).code == 3, words


def test_4_a_port_in_use(poise: Run, tmp_path: Path) -> None:
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free.bind(("127.0.0.1", 0))
        port, other = (str(one.getsockname()[1]) for one in (taken, free))
        free.close()
        for words in (("--port", port), ("--ingress-port", port, "--port", other)):
            done = poise("up", *words)
            assert (done.code, done.out) == (4, "")
            assert f"port {port} is in use" in done.err
            assert "poise up --port" in done.err
    assert not (tmp_path / "data").exists()


def test_4_a_way_back_where_there_is_none(online: Run, spec: Callable[[str], Path]) -> None:
    spec(GOOD)
    done = online("rollback", "web")
    assert (done.code, done.out) == (4, "")
    assert "nothing of it is live" in done.err and "poise why web" in done.err


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_5_a_spoiled_spec_is_told_by_place_and_nothing_is_applied(
    house: Any, online: Run, spec: Callable[[str], Path], command: str
) -> None:
    spec(SPOILED)
    before = anyio.run(house.store.get, Service, "shop/production/web")
    done = online(command)
    assert (done.code, done.out) == (5, "")
    assert "poise.yaml:5:3" in done.err
    assert "command" in done.err.split("comand", 1)[1]
    assert anyio.run(house.store.get, Service, "shop/production/web") == before


@pytest.mark.parametrize("text", ["{", "a: [1", "\t", "kind: Service\nkind: Service\n", ""])
def test_5_a_text_that_is_no_yaml(house: Any, online: Run, spec: Callable[[str], Path], text: str) -> None:
    spec(text)
    for words in (("plan",), ("apply",), ("explain", "service/web")):
        done = online(*words)
        assert done.code == 5, (words, done.err)
        assert "Traceback" not in done.err


def test_5_a_file_that_is_no_text(online: Run) -> None:
    (Path.cwd() / "poise.yaml").write_bytes(b"\xff\xfe\x00")
    for words in (("plan",), ("apply",), ("explain", "service/web")):
        assert online(*words).code == 5, words


def test_6_the_gate_holds(house: Any, online: Run) -> None:
    assert online("gate", "check", "--service", "web").code == 0
    spend(house)
    done = online("gate", "check", "--service", "web", "--class", "feature")
    assert (done.code, done.out) == (6, "")
    assert done.err.startswith("POISE-G600 hold:")
    assert "poise gate override web" in done.err
    as_json = online("gate", "check", "--service", "web", "--json")
    assert (as_json.code, json.loads(as_json.out)["kind"]) == (6, "hold")
    assert online("gate", "check", "--service", "web", "--class", "fix").code == 0


def spend(house: Any) -> None:
    """A live release, and more bad events than its budget allows, measured just now."""
    web, now = anyio.run(house.store.get, Service, "shop/production/web")[0], house.clock.now()
    spent = Budget(
        service=web.key, objective="availability", target_ratio=0.999, window_s=28 * 86_400.0, good=1e6,
        bad=2000.0, allowed=1000.0, left_ratio=-1.0, burns=(), coverage_ratio=1.0, bootstrap=False,
        since=now - timedelta(days=30), measured_at=now, at=now,
    )  # fmt: skip
    live = Rollout(
        project="shop", environment="production", service="web", n=1, release=1, digest="d", revision="r",
        commit="c", summary="s", change_class=ChangeClass.FEATURE, spec=web, state=RolloutState.LIVE,
        created_at=now,
    )  # fmt: skip
    house.write(spent, live)


def test_7_nothing_runs_here(poise: Run) -> None:
    for words in (("status",), ("why", "web"), ("login",), ("audit", "verify")):
        done = poise(*words)
        assert (done.code, done.out) == (7, "")
        assert done.err.splitlines()[-1].strip() == "Run: poise up"


def test_7_what_ran_here_is_dead(house: Any, poise: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POISE_TOKEN", "poise_a_b")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        announce(house, unused.getsockname()[1])
        done = poise("status")
    assert done.code == 7
    assert "POISE-E703" in done.err


def test_8_no_answer_in_time(house: Any, poise: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from poise.cli.client import Client

    monkeypatch.setattr(Client, "patience_s", 0.1)
    monkeypatch.setenv("POISE_TOKEN", "poise_a_b")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        announce(house, silent.getsockname()[1])
        done = poise("status")
    assert done.code == 8
    assert "POISE-E801" in done.err


def announce(house: Any, port: int) -> None:
    text = json.dumps({"url": f"http://127.0.0.1:{port}", "ingress_port": 1, "pid": 0})
    (house.data / "run" / "api.json").write_text(text)
