"""The real engines with a storage of their own, and images built from what this machine has: no registry."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from bench.house import House, until
from bench.report import Unmeasured

START_S = 30.0
APPLETS = ("sh", "httpd", "sleep", "cat", "echo", "id", "touch", "env", "mkdir", "printf", "chmod")
HTTPD = """trap 'exit 0' TERM
httpd -f -p 127.0.0.1:$PORT -h /www &
wait"""
NEEDED = """
import encodings.idna, http.server, json, pkgutil, sys
for one in pkgutil.iter_modules(encodings.__path__, "encodings."):
    if one.name.rpartition(".")[2] in ("aliases", "ascii", "cp437", "idna", "latin_1", "utf_8"):
        __import__(one.name)
print(json.dumps([m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)]))
"""
"""Prints the files of the modules that a small HTTP server in Python imports."""


class Engine:
    """An engine with images and containers of its own in ``folder``; nobody else's are seen or touched.

    ``environment`` leads its client there; it is put into ours too, from the making to ``close``.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[tuple[str, str], ...]]
    identity: ClassVar[str]

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self._built: dict[str, tuple[str, str]] = {}
        os.environ.update(environment)

    @classmethod
    def here(cls) -> Self:
        """One in a temporary folder. Raises ``Unmeasured`` where no container starts, and says why."""
        for name, package in (*cls.packages, ("busybox", "busybox-static")):
            if shutil.which(name) is None:
                raise Unmeasured(f"needs {name} (apt-get install {package})")
        if os.geteuid() != 0:
            raise Unmeasured(f"needs root: {cls.name} without it wants newuidmap, which CI does not have")
        folder = Path(tempfile.mkdtemp(prefix="pod-", dir="/var/tmp"))
        try:
            made = cls.start(folder)
        except Unmeasured:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            if problem := made.problem():
                raise Unmeasured(f"{cls.name} starts no container on this machine: {problem}")
        except BaseException:
            made.close()
            raise
        return made

    @classmethod
    def start(cls, folder: Path) -> Self:
        """One in an empty folder. Raises ``Unmeasured`` where it does not start."""
        raise NotImplementedError

    def close(self) -> None:
        """Remove everything, and end what still uses it."""
        raise NotImplementedError

    def once(self, image: str) -> list[str]:
        """The words that run NAME@DIGEST once, by hand."""
        raise NotImplementedError

    def problem(self) -> str:
        """Why no container starts here, whoever asks (as in a CI without rights), in the engine's words."""
        words = [self.name, *self.once(self.image("probe:1", "exit 0"))]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        return "" if done.returncode == 0 else done.stderr.strip()[-300:]

    def __call__(self, *words: str, told: str = "") -> str:
        """What a command of the engine prints, ``told`` on its stdin. Raises ``Unmeasured`` when it fails."""
        done = subprocess.run(
            [self.name, *words], input=told, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise Unmeasured(f"{self.name} {words[0]}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def image(self, name: str, script: str) -> str:
        """Build ``localhost/<name>`` from a static busybox: /bin/start is ``script``; gives NAME@DIGEST."""
        if self._built.get(name, ("", ""))[0] == script:
            return self._built[name][1]
        root, packed = self.folder / "root", self.folder / "root.tar"
        for folder in ("bin", "tmp", "www"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(shutil.which("busybox") or "", root / "bin" / "busybox")
        for applet in APPLETS:
            if not (root / "bin" / applet).is_symlink():
                (root / "bin" / applet).symlink_to("busybox")
        (root / "www" / "index.html").write_text(f"{name}\n")
        (root / "bin" / "start").write_text(f"#!/bin/sh\n{script}\n")
        (root / "bin" / "start").chmod(0o755)
        with tarfile.open(packed, "w") as tar:
            tar.add(root, arcname=".")
        self._built[name] = script, self._import(packed, name, '["/bin/start"]')
        return self._built[name][1]

    def httpd(self) -> str:
        """An image that serves its name on $PORT and ends at SIGTERM; NAME@DIGEST."""
        return self.image("httpd:1", HTTPD)

    def python_image(self, name: str, source: str) -> str:
        """Build ``localhost/<name>`` from this machine's Python, as little as an HTTP server of it needs.

        ``source`` is what it runs. Gives NAME@DIGEST.
        """
        packed, script = self.folder / "python.tar", self.folder / "server.py"
        script.write_text(source)
        python = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
        said = subprocess.run([python, "-I", "-S", "-c", NEEDED], capture_output=True, text=True, check=True)
        files = {Path(file) for file in json.loads(said.stdout)}
        files |= {python, *linked([python, *(file for file in files if ".so" in file.suffixes)])}
        with tarfile.open(packed, "w", dereference=True) as tar:
            for file in sorted(files):
                tar.add(file)
            tar.add(script, arcname="server.py")
        return self._import(packed, name, json.dumps([str(python), "-I", "-S", "-u", "/server.py"]))

    def variant(self, name: str, base: str, **environment: str) -> None:
        """Build ``localhost/<name>``: as ``localhost/<base>``, with other environment variables."""
        lines = [f"FROM localhost/{base}", *(f"ENV {key}={value}" for key, value in environment.items())]
        context = self.folder / "context"
        context.mkdir(exist_ok=True)
        told = "\n".join(lines) + "\n"
        self("build", "--quiet", "--tag", f"localhost/{name}", "--file", "-", str(context), told=told)

    def _import(self, packed: Path, name: str, entry: str) -> str:
        self("import", "--change", f"ENTRYPOINT {entry}", str(packed), f"localhost/{name}")
        digest = self("image", "inspect", "--format", self.identity, f"localhost/{name}")
        return f"localhost/{name.partition(':')[0]}@{digest}"


class Podman(Engine):
    """Its storage is a folder that its configuration names."""

    name = "podman"
    packages = (("podman", "podman"),)
    identity = "{{.Digest}}"

    @classmethod
    def start(cls, folder: Path) -> Self:
        """See ``Engine``."""
        conf = folder / "storage.conf"
        conf.write_text(
            f'[storage]\ndriver = "overlay"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/graph"\n'
        )
        return cls(folder, {"CONTAINERS_STORAGE_CONF": str(conf)})

    def once(self, image: str) -> list[str]:
        """See ``Engine``."""
        runtime = ["--runtime", "runc"] if Path("/sys/fs/cgroup/unified").is_dir() else []
        limits = ["--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:8192"]
        return [*runtime, "run", "--rm", "--network", "host", *limits, image]

    def close(self) -> None:
        """The engine's locks are numbered across all storages.

        A client that is left behind would hold the lock that a container of another storage gets.
        """
        self("rm", "--all", "--force", "--time", "0")
        for process in map(int, self._users()):
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        subprocess.run(
            ["umount", "--lazy", self.folder / "graph" / "overlay"], capture_output=True, check=False
        )
        del os.environ["CONTAINERS_STORAGE_CONF"]
        shutil.rmtree(self.folder)

    def _users(self) -> Iterator[str]:
        """Who was started for this storage, by the mark in the environment."""
        mark = f"CONTAINERS_STORAGE_CONF={self.folder}/storage.conf".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                    yield folder.name


class Docker(Engine):
    """A daemon of its own, which ends with this process at the latest."""

    name = "docker"
    packages = (("docker", "docker.io"), ("dockerd", "docker.io"))
    identity = "{{.Id}}"
    daemon: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path) -> Self:
        """See ``Engine``."""
        made = cls(folder, {"DOCKER_HOST": f"unix://{folder}/socket"})
        try:
            made.rise()
        except Unmeasured:
            made.close()
            raise
        return made

    def rise(self) -> None:
        """Start the daemon, without a bridge or packet filter. Raises ``Unmeasured`` with its last words."""
        at, log = self.folder, self.folder / "log"
        (at / "daemon.json").write_text("{}")  # else it would read the machine's own
        (at / "pid").unlink(missing_ok=True)
        words = ["dockerd", "--config-file", f"{at}/daemon.json", "--host", f"unix://{at}/socket"]
        words += ["--data-root", f"{at}/data", "--exec-root", f"{at}/exec", "--pidfile", f"{at}/pid"]
        words += ["--bridge", "none", "--iptables=false", "--ip6tables=false"]
        with log.open("ab") as out:
            self.daemon = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            until(self._answers, START_S, "dockerd answers")
        except Unmeasured as late:
            raise Unmeasured(f"{late}: {log.read_text(errors='replace').strip()[-300:]}") from late

    def fall(self) -> None:
        """End the daemon, which ends what it runs, and containerd."""
        self.daemon.terminate()
        try:
            self.daemon.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()

    def _answers(self) -> bool:
        if self.daemon.poll() is not None:
            raise Unmeasured(f"dockerd ended with {self.daemon.returncode}")
        return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0

    def once(self, image: str) -> list[str]:
        """See ``Engine``."""
        return ["run", "--rm", "--network", "host", image.partition("@")[2]]

    def close(self) -> None:
        """See ``Engine``."""
        with suppress(Unmeasured, subprocess.SubprocessError):
            if left := self("ps", "--all", "--quiet").split():
                self("rm", "--force", *left)
        self.fall()
        for process in self._left():  # of a daemon that fell by itself
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        for mounted in sorted(mounts(self.folder), reverse=True):
            subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False)
        del os.environ["DOCKER_HOST"]
        shutil.rmtree(self.folder, ignore_errors=True)

    def _left(self) -> Iterator[int]:
        """Shims of containers, by the address in their argv, and what they run."""
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"{self.folder}/exec/".encode() in (folder / "cmdline").read_bytes():
                    children = (folder / "task" / folder.name / "children").read_text().split()
                    yield from map(int, (folder.name, *children))


class ContainerHouse(House):
    """With the images that an engine holds."""

    def __init__(self, project: str, files: dict[str, str], engine: Engine) -> None:
        self._engine = {**engine.environment, "POISE_CONTAINER_ENGINE": engine.name}
        super().__init__(project, files)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self._engine


def mounts(folder: Path) -> list[str]:
    """What is mounted below a folder."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [at for line in lines if (at := line.split()[1]).startswith(f"{folder}/")]


def linked(files: list[Path]) -> set[Path]:
    """The shared libraries that programs and extensions load, by the path that they ask for."""
    found = set()
    for file in files:
        said = subprocess.run(["ldd", file], capture_output=True, text=True, check=True).stdout
        words = [word for line in said.splitlines() for word in line.split() if word.startswith("/")]
        found |= {Path(word) for word in words}
    return found
