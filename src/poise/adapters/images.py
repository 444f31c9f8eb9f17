"""Container images by the engine's command line: a reference becomes a digest once, and is kept."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Final

from poise.keeper import engine
from poise.keeper.engine import Engine
from poise.model.errors import Invalid, NotFound, TimedOut
from poise.ports.artifacts import RELEASED, Base

PULL_S: Final = 600.0
SAID_CHARS: Final = 400  # of what the engine says when it fails
LOCAL: Final = "localhost/"
BASE: Final = "org.opencontainers.image.base"
IDENTITY: Final = {"podman": "{{.Digest}} {{.Id}}", "docker": "{{.Id}} {{.Id}}"}


class EngineImages:
    """See ``ports.artifacts.Images``. Every method runs commands: call it in a thread."""

    def resolve(self, reference: str) -> str:
        """A digest is looked for here first; a tag may have moved, so its registry is asked first.

        A registry that does not answer leaves the copy that is here, as ``podman run --pull newer`` does.
        Docker's digest of an image is its id: of the manifest in its newer store, else of the configuration,
        which names every layer. Source: OCI image-spec, config.md, "ImageID".
        """
        here = _inspect(reference)
        moved = "@" not in reference and not reference.startswith(LOCAL)
        if here is None or moved:
            pulled = _run("pull", "--quiet", reference)
            if pulled.returncode != 0 and here is None:
                raise _absent(reference, pulled.stderr)
            here = _inspect(reference) or here
        if here is None:
            raise _absent(reference, "it was pulled, and then it was gone")
        digest, own_id = here
        kept = _run("tag", own_id, f"{RELEASED}:{digest.partition(':')[2]}")
        if kept.returncode != 0:
            raise NotFound("POISE-A203", f"image {reference} cannot be kept", where=reference,
                           why=kept.stderr.strip()[-SAID_CHARS:], mend="Run `poise doctor`.")  # fmt: skip
        return digest

    def base(self, digest: str) -> Base | None:
        """Of its annotations, else its labels. Source: OCI image-spec, annotations.md, "Pre-Defined"."""
        image = _engine().image(f"{RELEASED}@{digest}")
        for kept in ("Annotations", "Config.Labels"):  # docker keeps no annotations and says so
            done = _run("image", "inspect", "--format", f"{{{{json .{kept}}}}}", image)
            try:
                found = json.loads(done.stdout) if done.returncode == 0 else None
            except ValueError:
                found = None
            said = found if isinstance(found, dict) else {}
            below = said.get(f"{BASE}.digest", "")
            if re.fullmatch(r"sha256:[0-9a-f]{64}", str(below)):
                return Base(name=str(said.get(f"{BASE}.name", "")), digest=below)
        return None


def _absent(reference: str, said: str) -> NotFound:
    return NotFound(
        "POISE-A201",
        f"image {reference} is neither on this machine nor to be had",
        where=reference,
        why=said.strip()[-SAID_CHARS:],
        mend=f"Build it here: `{_engine().name} build -t {reference} .`; or correct 'image' in poise.yaml.",
    )


def _inspect(reference: str) -> tuple[str, str] | None:
    """The digest and the engine's own id; None where it is not on this machine."""
    name = _engine().name
    done = _run("image", "inspect", "--format", IDENTITY[name], reference)
    if done.returncode != 0 and name == "docker" and "@" in reference:
        # Its older store knows what was built here by the id alone, which is a digest whatever the name.
        done = _run("image", "inspect", "--format", IDENTITY[name], reference.partition("@")[2])
    words = done.stdout.split()
    return (words[0], words[1]) if done.returncode == 0 and len(words) == 2 else None


def _engine() -> Engine:
    found = engine.find()
    if found is None:
        raise Invalid(
            "POISE-A202", "neither podman nor docker is installed, and a service has an image",
            why=f"{engine.CHOICE} is {os.environ[engine.CHOICE]!r}." if os.environ.get(engine.CHOICE) else "",
            mend="Run `sudo apt-get install podman` (or docker.io), then push again.",
        )  # fmt: skip
    return found


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    found = _engine()
    try:
        return subprocess.run(
            [found.path, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PULL_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimedOut("POISE-A204", f"{found.name} {words[0]} did not end within {PULL_S:g} s",
                       where=words[-1], mend="Look at the registry, then push again.") from error  # fmt: skip
