"""What ``poise doctor`` looks at. Each check stands alone and never changes anything."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from poise.cli.place import address_of
from poise.keeper import engine
from poise.keeper.engine import Engine
from poise.model.errors import PoiseError
from poise.model.ingress import Ingress

FREE_WARN_BYTES = 1_000_000_000
FREE_FAIL_BYTES = 100_000_000
PODMAN_FILES = 1_048_576  # the hard limit that podman gives a container where nothing else is said
PODMAN_TELLS = (
    "{{.Version.Version}} {{.Host.CgroupsVersion}} {{.Host.Security.Rootless}} {{.Host.CgroupControllers}}"
)
DOCKER_TELLS = (
    "v{{.CgroupVersion}}{{if .MemoryLimit}} memory{{end}}{{if .CPUCfsQuota}} cpu{{end}}"
    "|{{.SecurityOptions}}|{{.OperatingSystem}}"
)
ULIMITS = 'default_ulimits = ["nofile=1024:4096", "nproc=4096:8192"] in containers.conf'


class Finding(Struct, frozen=True, kw_only=True):
    """One check: ``result`` is pass, warn or fail."""

    check: str
    result: str
    finding: str
    mend: str = ""


def examine(data: Path) -> list[Finding]:
    """Every check, in order; a check that breaks is a failed check, not a crash."""
    return [finding for check in CHECKS for finding in _run(check, data)]


def _run(check: Callable[[Path], Iterator[Finding]], data: Path) -> list[Finding]:
    try:
        return list(check(data))
    except (OSError, sqlite3.Error, subprocess.SubprocessError) as error:
        return [Finding(check=check.__name__.strip("_"), result="fail", finding=str(error))]


def _python(_: Path) -> Iterator[Finding]:
    good = sys.version_info >= (3, 11)
    yield Finding(
        check="python", result="pass" if good else "fail", finding=platform.python_version(),
        mend="" if good else "Install Python 3.11 or newer",
    )  # fmt: skip
    libc, version = platform.libc_ver()
    old = libc == "glibc" and tuple(map(int, version.split("."))) < (2, 31)
    yield Finding(
        check="libc",
        result="fail" if old else "pass",
        finding=f"{libc} {version}",
        mend="Needs glibc 2.31" if old else "",
    )


def _programs(_: Path) -> Iterator[Finding]:
    for name, package, result in (("git", "git", "fail"), ("bwrap", "bubblewrap", "warn")):
        path = shutil.which(name)
        yield Finding(
            check=name,
            result="pass" if path else result,
            finding=path or "not found",
            mend="" if path else f"sudo apt-get install {package}",
        )
    backend = subprocess.run(
        ["git", "--exec-path"], capture_output=True, text=True, check=False
    ).stdout.strip()
    has = (Path(backend) / "git-http-backend").exists()
    yield Finding(
        check="git http-backend", result="pass" if has else "fail", finding=backend or "no git",
        mend="" if has else "sudo apt-get install git",
    )  # fmt: skip


def _envoy(_: Path) -> Iterator[Finding]:
    from poise.adapters.envoy.launch import program

    try:
        path = str(program())
        yield Finding(check="envoy", result="pass", finding=path)
    except PoiseError as error:
        yield Finding(check="envoy", result="fail", finding=error.what, mend=error.mend)


def _sandbox(_: Path) -> Iterator[Finding]:
    if shutil.which("bwrap") is None:
        yield Finding(
            check="sandbox", result="warn", finding="none: steps and workloads run unconfined",
            mend="sudo apt-get install bubblewrap",
        )  # fmt: skip
        return
    done = subprocess.run(
        ["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"],
        capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    good = done.returncode == 0
    yield Finding(
        check="sandbox",
        result="pass" if good else "warn",
        finding="bubblewrap works" if good else done.stderr.strip(),
        mend="" if good else "sudo sysctl kernel.unprivileged_userns_clone=1",
    )


def _containers(_: Path) -> Iterator[Finding]:
    """The engine of services with an image, and what of ``resources`` the kernel holds them to here."""
    yield Finding(
        check="limits of processes",
        result="pass",
        finding="memory by RLIMIT_DATA, each process by itself; no CPU",
    )
    found, chosen = engine.find(), os.environ.get(engine.CHOICE, "")
    if found is None:
        yield Finding(
            check="containers",
            result="warn" if chosen else "pass",
            finding=f"no {chosen or 'podman and no docker'}: an image is not released here",
            mend="sudo apt-get install podman (or docker.io)"
            + (f", or unset {engine.CHOICE}" if chosen else ""),
        )
        return
    try:
        yield from _podman(found) if found.name == "podman" else _docker(found)
    except ChildProcessError as error:
        yield Finding(
            check="containers", result="warn", finding=str(error)[-200:], mend=_mend(found, str(error))
        )


def _mend(found: Engine, said: str) -> str:
    if found.name == "docker" and "permission denied" in said:
        return "sudo usermod -aG docker $USER, then log in again"
    if found.name == "docker" and "Cannot connect" in said:
        return "sudo systemctl start docker"
    return f"{found.name} info"


def _podman(found: Engine) -> Iterator[Finding]:
    version, cgroups, rootless, held = _told(found, "info", PODMAN_TELLS).split(maxsplit=3)
    other = f"; docker is here too, and {engine.CHOICE}=docker takes it" if shutil.which("docker") else ""
    yield Finding(check="containers", result="pass", finding=f"podman {version}{other}")
    yield from _container_limits(cgroups, rootless == "true", held)
    yield from _runtime(version)


def _docker(found: Engine) -> Iterator[Finding]:
    version = _told(found, "version", "{{.Server.Version}}")  # where no daemon answers, it says so best
    held, security, system = _told(found, "info", DOCKER_TELLS).split("|")
    apart = "rootless" if "name=rootless" in security else system if "Docker Desktop" in system else ""
    yield Finding(
        check="containers",
        result="warn" if apart else "pass",
        finding=f"docker {version}"
        + (
            f" ({apart}): a container is not on this machine's network, so nobody reaches it" if apart else ""
        ),
        mend="Use Docker Engine as root, or sudo apt-get install podman" if apart else "",
    )
    cgroups, *controllers = held.split()
    yield from _container_limits(cgroups, rootless=False, held=" ".join(controllers))


def _told(found: Engine, command: str, template: str) -> str:
    done = subprocess.run(
        [found.path, command, "--format", template], capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode != 0:
        raise ChildProcessError(done.stderr.strip())
    return done.stdout.strip()


def _container_limits(cgroups: str, rootless: bool, held: str) -> Iterator[Finding]:
    missing = [name for name in ("memory", "cpu") if name not in held.strip("[]").split()]
    loose = missing or (["memory", "cpu"] if rootless and cgroups == "v1" else [])
    yield Finding(
        check="limits of containers",
        result="warn" if loose else "pass",
        finding=f"cgroups {cgroups}: " + (f"{' and '.join(loose)} not held" if loose else "memory and CPU"),
        mend="Boot with cgroups version 2 and delegate memory and cpu to this user" if loose else "",
    )


def _runtime(version: str) -> Iterator[Finding]:
    """Where cgroups are hybrid, crun fails; where the hard limit is below podman's default, any runtime."""
    hybrid = (
        Path("/sys/fs/cgroup/unified").is_dir() and not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    )
    if hybrid and shutil.which("runc") is None:
        yield Finding(
            check="container runtime", result="warn", finding="cgroups are hybrid, and runc is not installed",
            mend="sudo apt-get install runc",
        )  # fmt: skip
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    low = files != resource.RLIM_INFINITY and files < PODMAN_FILES
    if hybrid or low:
        by_hand = [*(["--runtime runc"] if hybrid else []), *([ULIMITS] if low else [])]
        yield Finding(
            check="podman by hand",
            result="pass",
            finding=f"podman {version} needs {' and '.join(by_hand)} here; Poise passes that itself",
        )


def _folder(data: Path) -> Iterator[Finding]:
    if not data.exists():
        yield Finding(check="data folder", result="warn", finding=f"{data} is not there yet", mend="poise up")
        return
    mode = data.stat().st_mode & 0o777
    yield Finding(
        check="data folder", result="pass" if mode & 0o077 == 0 else "fail", finding=f"{data} {mode:o}",
        mend="" if mode & 0o077 == 0 else f"chmod 700 {data}",
    )  # fmt: skip
    owner = data.stat().st_uid
    yield Finding(
        check="owner", result="pass" if owner == os.getuid() else "fail", finding=f"uid {owner}",
        mend="" if owner == os.getuid() else f"chown -R $(id -u) {data}",
    )  # fmt: skip
    for name in ("token", "signing.key", "provenance.key", "poise.db"):
        path = data / name
        if path.exists():
            mode = path.stat().st_mode & 0o777
            loose = bool(mode & 0o077)
            yield Finding(
                check=f"{name} mode",
                result="fail" if loose else "pass",
                finding=f"{mode:o}",
                mend=f"chmod 600 {path}" if loose else "",
            )


def _disk(data: Path) -> Iterator[Finding]:
    folder = next(path for path in (data, *data.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    result = "fail" if free < FREE_FAIL_BYTES else "warn" if free < FREE_WARN_BYTES else "pass"
    yield Finding(
        check="disk",
        result=result,
        finding=f"{free / 1e9:.1f} GB free",
        mend="" if result == "pass" else "Free some space",
    )


def _record(data: Path) -> Iterator[Finding]:
    for name in ("poise.db", "signals.db", "metrics.db"):
        if (data / name).exists():
            answer = _quick_check(data / name)
            good = answer == "ok"
            mend = "" if good else "poise restore --verify <backup>"
            yield Finding(check=name, result="pass" if good else "fail", finding=answer, mend=mend)


def _telemetry(data: Path) -> Iterator[Finding]:
    from poise.adapters.telemetry import limits, visit

    try:
        found = visit.state(data)
    except PoiseError as error:
        yield Finding(check=limits.FILE, result="fail", finding=f"{error.what}. {error.why}", mend=error.mend)
        return
    if found is not None:
        held = f"{found.spans:,} spans and {found.records:,} log records in {found.used_bytes / 1e6:,.0f} MB"
        yield Finding(check=limits.FILE, result="pass", finding=held)


def _quick_check(path: Path) -> str:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as raw:
            return str(raw.execute("PRAGMA quick_check").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)


def _https(data: Path) -> Iterator[Finding]:
    """The certificates of the ingress as their files are now; nothing where none is declared."""
    from poise.adapters.envoy import certificates
    from poise.model.ingress import urgent_at, warn_at
    from poise.spec.ingress import FILENAME, parse_ingress
    from poise.spec.problems import Problems

    path, now = data / FILENAME, datetime.now(UTC)
    if not path.exists():
        return
    try:
        ingress = parse_ingress(path.read_text(errors="replace"), str(path))
    except Problems as found:
        for one in found.problems:
            yield Finding(check="https", result="fail", finding=f"{one.where}: {one.what}", mend=one.mend)
        return
    yield from _doors(data, ingress)
    for pair in ingress.pairs:
        try:
            proof = certificates.read(pair, now)
        except PoiseError as error:
            yield Finding(
                check="https", result="fail", finding=f"{error.where}: {error.what}", mend=error.mend
            )
            continue
        life = (proof.begins_at, proof.expires_at)
        left = proof.expires_at - now
        result = "fail" if now >= urgent_at(*life) else "warn" if now >= warn_at(*life) else "pass"
        hosts = ", ".join(proof.hosts[:3]) + (f" and {len(proof.hosts) - 3} more" if proof.hosts[3:] else "")
        yield Finding(
            check="https",
            result=result,
            finding=f"{hosts}: {left.days} days left of {pair.certificate_file}",
            mend="" if result == "pass" else "Renew it; the file is read again as soon as it changes",
        )


def _doors(data: Path, ingress: Ingress) -> Iterator[Finding]:
    """Whether what is declared is in force: a port that is taken, say, is told by Envoy alone."""
    from poise.adapters.envoy.adapter import EnvoyTraffic

    doors = EnvoyTraffic(data).doors()
    is_open = (doors.address, doors.https_port, doors.redirect) == (
        ingress.address, ingress.https_port, ingress.redirect,
    )  # fmt: skip
    place = f"{ingress.address}:{ingress.https_port or 'no port with TLS'}"
    yield Finding(
        check="ingress",
        result="pass" if is_open else "warn",
        finding=place if is_open else f"{place} is declared and not in force",
        mend="" if is_open else f"Read {data}/logs/poise.log, or start it: poise up",
    )


def _server(data: Path) -> Iterator[Finding]:
    import httpx2

    try:
        address = address_of(data)
        ready = httpx2.get(address.url + "/readyz", timeout=2.0, trust_env=False, verify=False)
        yield Finding(
            check="server", result="pass" if ready.is_success else "fail", finding=address.url,
            mend="" if ready.is_success else f"Read {data}/logs/poise.log",
        )  # fmt: skip
    except (PoiseError, httpx2.HTTPError) as error:
        yield Finding(check="server", result="warn", finding=str(error), mend="poise up")


CHECKS = (
    _python,
    _programs,
    _envoy,
    _sandbox,
    _containers,
    _folder,
    _disk,
    _record,
    _telemetry,
    _https,
    _server,
)
