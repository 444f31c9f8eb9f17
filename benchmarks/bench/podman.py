"""The real engine with a storage of its own, and images built from what this machine has: no registry."""

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
from typing import Self

from bench.house import House
from bench.report import Unmeasured

APPLETS = ("sh", "httpd", "sleep", "cat", "echo", "id", "touch", "env", "mkdir", "printf", "chmod")
NEEDED = """
import encodings.idna, http.server, json, pkgutil, sys
for one in pkgutil.iter_modules(encodings.__path__, "encodings."):
    if one.name.rpartition(".")[2] in ("aliases", "ascii", "cp437", "idna", "latin_1", "utf_8"):
        __import__(one.name)
print(json.dumps([m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)]))
"""
"""Prints the files of the modules that a small HTTP server in Python imports."""


class Podman:
    """Its storage is ``folder``; nobody else's images are seen or touched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        conf = folder / "storage.conf"
        conf.write_text(
            f'[storage]\ndriver = "overlay"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/graph"\n'
        )
        os.environ["CONTAINERS_STORAGE_CONF"] = str(conf)

    @classmethod
    def here(cls) -> Self:
        """A storage in a temporary folder. Raises ``Unmeasured`` where no container starts, and says why."""
        for name, package in (("podman", "podman"), ("busybox", "busybox-static")):
            if shutil.which(name) is None:
                raise Unmeasured(f"needs {name} (apt-get install {package})")
        if os.geteuid() != 0:
            raise Unmeasured("needs root: rootless podman wants newuidmap, which CI does not have")
        made = cls(Path(tempfile.mkdtemp(prefix="pod-", dir="/var/tmp")))
        problem = made.problem()
        if problem:
            made.close()
            raise Unmeasured(f"podman starts no container on this machine: {problem}")
        return made

    def __call__(self, *words: str, told: str = "") -> str:
        """What a command of the engine prints, ``told`` on its stdin. Raises ``Unmeasured`` when it fails."""
        done = subprocess.run(
            ["podman", *words], input=told, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise Unmeasured(f"podman {words[0]}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def image(self, name: str, script: str) -> str:
        """Build ``localhost/<name>`` from a static busybox: /bin/start is ``script``; gives NAME@DIGEST."""
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
        return self._import(packed, name, '["/bin/start"]')

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

    def problem(self) -> str:
        """Why no container starts here, whoever asks (as in a CI without rights), in podman's words."""
        image = self.image("probe:1", "exit 0")
        limits = ("--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:8192")
        runtime = ["--runtime", "runc"] if Path("/sys/fs/cgroup/unified").is_dir() else []
        words = ["podman", *runtime, "run", "--rm", "--network", "host", *limits, image]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        return "" if done.returncode == 0 else done.stderr.strip()[-300:]

    def close(self) -> None:
        """Remove everything, and end what still uses it.

        The engine's locks are numbered across all storages: a client that is left behind would hold the lock
        that a container of another storage gets.
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

    def _import(self, packed: Path, name: str, entry: str) -> str:
        self("import", "--quiet", "--change", f"ENTRYPOINT {entry}", str(packed), f"localhost/{name}")
        digest = self("image", "inspect", "--format", "{{.Digest}}", f"localhost/{name}")
        return f"localhost/{name.partition(':')[0]}@{digest}"

    def _users(self) -> Iterator[str]:
        """Who was started for this storage, by the mark in the environment."""
        mark = f"CONTAINERS_STORAGE_CONF={self.folder}/storage.conf".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                    yield folder.name


class ContainerHouse(House):
    """With the storage of images that a ``Podman`` builds into."""

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"CONTAINERS_STORAGE_CONF": os.environ["CONTAINERS_STORAGE_CONF"]}


def linked(files: list[Path]) -> set[Path]:
    """The shared libraries that programs and extensions load, by the path that they ask for."""
    found = set()
    for file in files:
        said = subprocess.run(["ldd", file], capture_output=True, text=True, check=True).stdout
        words = [word for line in said.splitlines() for word in line.split() if word.startswith("/")]
        found |= {Path(word) for word in words}
    return found
