"""What passes between Poise and other systems: forge hooks, deliveries received, announcements sent."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class Forge(StrEnum):
    """Where a project's code may live besides here."""

    GITHUB = "github"
    GITLAB = "gitlab"
    GITEA = "gitea"
    FORGEJO = "forgejo"


class Hook(Struct, frozen=True, kw_only=True):
    """A forge's permission to tell of pushes; key ``project/forge``. Written by the API.

    ``sealed`` is the shared secret, encrypted under the installation's key; it never leaves the server
    again. With a ``remote`` each push is fetched from there; without, it is recorded and nothing is built.
    ``branch`` empty means every branch. ``credential`` is the remote's user and password, sealed likewise.
    """

    project: str
    forge: Forge
    sealed: str
    remote: str = ""
    credential: str = ""
    branch: str = ""
    by: str
    at: datetime

    @property
    def key(self) -> str:
        """``project/forge``."""
        return f"{self.project}/{self.forge.value}"


class Delivery(Struct, frozen=True, kw_only=True):
    """A message from outside that was taken once; key ``project/origin/digest``. Written by the API.

    The digest is of what the message says of itself (its id) or, where an id is not signed, of its body;
    a second one is a replay. It may be forgotten after ``expires_at``.
    """

    project: str
    origin: str
    digest: str
    expires_at: datetime

    @property
    def key(self) -> str:
        """``project/origin/digest``."""
        return f"{self.project}/{self.origin}/{self.digest}"


class Labels(Struct, frozen=True, kw_only=True):
    """What a forge's pull request says of a commit: of its head, and of what it was merged as.

    Key ``project/commit``. Written by the API; ``source`` is which pull request said so.
    """

    project: str
    commit: str
    labels: tuple[str, ...]
    source: str
    at: datetime

    @property
    def key(self) -> str:
        """``project/commit``."""
        return f"{self.project}/{self.commit}"


class Announcement(Struct, frozen=True, kw_only=True):
    """How far a sink has been told; key ``project/digest of the URL``. Written by announce.

    Events up to ``sequence`` were handed to the outbox; ``open`` are those of them not yet settled.
    """

    project: str
    sink: str
    digest: str
    sequence: int
    open: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """``project/digest``."""
        return f"{self.project}/{self.digest}"
