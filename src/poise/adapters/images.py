"""Container images by podman's command line: a reference becomes a digest once, and is kept."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Final

from poise.model.errors import Invalid, NotFound, TimedOut
from poise.ports.artifacts import RELEASED, Base

PULL_S: Final = 600.0
SAID_CHARS: Final = 400  # of what the engine says when it fails
LOCAL: Final = "localhost/"
BASE: Final = "org.opencontainers.image.base"


class PodmanImages:
    """See ``ports.artifacts.Images``. Every method runs commands: call it in a thread."""

    def resolve(self, reference: str) -> str:
        """A digest is looked for here first; a tag may have moved, so its registry is asked first.

        A registry that does not answer leaves the copy that is here, as ``podman run --pull newer`` does.
        """
        here = _inspect(reference)
        moved = "@" not in reference and not reference.startswith(LOCAL)
        if here is None or moved:
            pulled = _podman("pull", "--quiet", reference)
            if pulled.returncode != 0 and here is None:
                raise _absent(reference, pulled.stderr)
            here = _inspect(reference) or here
        if here is None:
            raise _absent(reference, "it was pulled, and then it was gone")
        digest, own_id = here
        kept = _podman("tag", own_id, f"{RELEASED}:{digest.partition(':')[2]}")
        if kept.returncode != 0:
            raise NotFound("POISE-A203", f"image {reference} cannot be kept", where=reference,
                           why=kept.stderr.strip()[-SAID_CHARS:], mend="Run `poise doctor`.")  # fmt: skip
        return digest

    def base(self, digest: str) -> Base | None:
        """Of its annotations, else its labels. Source: OCI image-spec, annotations.md, "Pre-Defined"."""
        for kept in ("Annotations", "Labels"):
            done = _podman("image", "inspect", "--format", f"{{{{json .{kept}}}}}", f"{RELEASED}@{digest}")
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
        mend=f"Build it here: `podman build -t {reference} .`; or correct 'image' in poise.yaml.",
    )


def _inspect(reference: str) -> tuple[str, str] | None:
    """The digest and the engine's own id; None where it is not on this machine."""
    done = _podman("image", "inspect", "--format", "{{.Digest}} {{.Id}}", reference)
    words = done.stdout.split()
    return (words[0], words[1]) if done.returncode == 0 and len(words) == 2 else None


def _podman(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["podman", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PULL_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise Invalid(
            "POISE-A202", "podman is not installed, and a service has an image",
            mend="Run `sudo apt-get install podman`, then push again.",
        ) from error  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TimedOut("POISE-A204", f"podman {words[0]} did not end within {PULL_S:g} s", where=words[-1],
                       mend="Look at the registry, then push again.") from error  # fmt: skip
