"""What doctor says of containers, by what a played engine answers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.adapters.envoy.authority import Authority

from poise.cli.doctor import examine
from poise.model.ingress import Pair


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a played podman goes, first on the PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "podman"


def told(check: str, data: Path) -> tuple[str, str, str]:
    (found,) = (one for one in examine(data) if one.check == check)
    return found.result, found.finding, found.mend


@pytest.mark.parametrize(
    ("answer", "result", "part"),
    [
        ("5.2.0 v2 false [cpuset cpu io memory pids]", "pass", "memory and CPU"),
        ("5.2.0 v2 true [memory pids]", "warn", "cpu not held"),
        ("4.3.1 v1 true [cpu memory]", "warn", "memory and cpu not held"),
        ("4.3.1 v2 true []", "warn", "memory and cpu not held"),
    ],
)
def test_limits_that_the_kernel_does_not_hold_are_told(
    engine: Path, answer: str, result: str, part: str
) -> None:
    """A declared limit that nothing enforces is worse than none: a person must know."""
    engine.write_text(f"#!/bin/sh\necho '{answer}'\n")
    engine.chmod(0o755)
    said = told("limits of containers", engine.parent)
    assert (said[0], part in said[1], bool(said[2])) == (result, True, result == "warn"), said


def test_an_engine_that_does_not_work_is_told_in_its_own_words(engine: Path) -> None:
    """Not a stack trace."""
    engine.write_text("#!/bin/sh\necho 'cannot clone: no user namespace' >&2; exit 125\n")
    engine.chmod(0o755)
    assert told("containers", engine.parent)[:2] == ("warn", "cannot clone: no user namespace")


@pytest.mark.parametrize(
    ("answer", "containers", "limits"),
    [
        ("v2 memory cpu|[name=seccomp]|Debian GNU/Linux 12", ("pass", "docker 28.2.2"), "pass"),
        ("v1 memory|[name=seccomp]|Debian GNU/Linux 12", ("pass", "docker 28.2.2"), "warn"),
        (
            "v2 memory cpu|[name=seccomp name=rootless]|Debian",
            ("warn", "docker 28.2.2 (rootless): a"),
            "pass",
        ),
        ("v2 memory cpu|[name=seccomp]|Docker Desktop", ("warn", "28.2.2 (Docker Desktop): a"), "pass"),
    ],
)
def test_docker_is_told_with_what_keeps_it_from_serving(
    engine: Path, monkeypatch: pytest.MonkeyPatch, answer: str, containers: tuple[str, str], limits: str
) -> None:
    """In a machine or a network of its own a container listens where nobody comes."""
    monkeypatch.setenv("POISE_CONTAINER_ENGINE", "docker")
    docker = engine.with_name("docker")
    docker.write_text(f"#!/bin/sh\n[ $1 = version ] && echo 28.2.2 || echo '{answer}'\n")
    docker.chmod(0o755)
    said = told("containers", engine.parent)
    assert (said[0], containers[1] in said[1]) == (containers[0], True), said
    assert told("limits of containers", engine.parent)[0] == limits


def test_a_docker_that_nobody_may_use_is_told_with_the_mend(
    engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commonest two: no daemon runs, and this account is not in its group."""
    monkeypatch.setenv("POISE_CONTAINER_ENGINE", "docker")
    docker = engine.with_name("docker")
    for words, mend in (
        ("permission denied while", "usermod -aG docker"),
        ("Cannot connect to", "start docker"),
    ):
        docker.write_text(f"#!/bin/sh\necho '{words}' >&2; exit 1\n")
        docker.chmod(0o755)
        said = told("containers", engine.parent)
        assert said[:2] == ("warn", words) and mend in said[2]


def test_a_choice_that_is_not_there_is_told(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing mistake must not look as if the machine had no engine."""
    monkeypatch.setenv("POISE_CONTAINER_ENGINE", "dokcer")
    said = told("containers", engine.parent)
    assert said[0] == "warn" and "no dokcer" in said[1] and "unset POISE_CONTAINER_ENGINE" in said[2]


def test_a_machine_without_an_engine_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who declares an image needs one; the mend is there for them."""
    (tmp_path / "git").symlink_to("/usr/bin/git")
    monkeypatch.setenv("PATH", str(tmp_path))
    said = told("containers", tmp_path)
    assert said == (
        "pass",
        "no podman and no docker: an image is not released here",
        "sudo apt-get install podman (or docker.io)",
    )


@pytest.mark.parametrize(("days", "result"), [(60, "pass"), (13, "warn"), (2, "fail"), (-1, "fail")])
def test_a_certificate_is_told_of_before_it_expires(tmp_path: Path, days: int, result: str) -> None:
    """Two weeks before: a renewal that works would have come long ago."""
    pair, _ = Authority().issue(
        tmp_path, "shop.example.com", begins=timedelta(days=-200), ends=timedelta(days=days, hours=1)
    )
    declare(tmp_path, pair)
    said = told("https", tmp_path)
    assert (said[0], bool(said[2])) == (result, result != "pass")
    assert pair.certificate_file in said[1] and (days < 0 or f"{days} days left" in said[1])


def test_a_mistake_in_the_ingress_is_told_with_its_line(tmp_path: Path) -> None:
    """Whoever asks the doctor sees what the log said."""
    (tmp_path / "ingress.yaml").write_text("kind: Ingress\n")
    found = [one for one in examine(tmp_path) if one.check == "https"]
    assert {one.result for one in found} == {"fail"} and "ingress.yaml:1:1" in found[0].finding


def test_what_is_declared_and_not_in_force_is_told(tmp_path: Path) -> None:
    """A port that is taken is found by nobody else."""
    pair, _ = Authority().issue(tmp_path, "shop.example.com")
    declare(tmp_path, pair)
    assert told("ingress", tmp_path)[:2] == ("warn", "127.0.0.1:8443 is declared and not in force")
    (tmp_path / "envoy").mkdir()
    (tmp_path / "envoy" / "doors.json").write_text('{"https_port": 8443}')
    assert told("ingress", tmp_path) == ("pass", "127.0.0.1:8443", "")


def declare(folder: Path, pair: Pair) -> None:
    certificate = f"{{certFile: {pair.certificate_file}, keyFile: {pair.key_file}}}"
    (folder / "ingress.yaml").write_text(
        "apiVersion: poise.dev/v1\nkind: Ingress\nspec:\n"
        f"  https: {{port: 8443, certificates: [{certificate}]}}\n"
    )
