"""Config and secret: what a service is told besides its code. Versioned; a change of either is rolled out."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from poise.model.delivery import ChangeClass


class Config(Struct, frozen=True, kw_only=True):
    """All settings of a service at one version; key ``project/environment/service/n``. Written by the API.

    Immutable: setting one value makes version ``n + 1`` with every value in it. ``restores`` is the version
    whose values a rollback took over. The values enter the process environment.
    """

    service: str
    n: int
    values: dict[str, str]
    by: str
    reason: str
    at: datetime
    change_class: ChangeClass = ChangeClass.FEATURE
    restores: int | None = None

    @property
    def key(self) -> str:
        """``project/environment/service/n``, zero-padded."""
        return f"{self.service}/{self.n:06d}"


class Secret(Struct, frozen=True, kw_only=True):
    """All secrets of a service at one version; key ``project/environment/service/n``. Written by the API.

    ``sealed`` are values encrypted under the installation's key, base64; ``marks`` are short keyed digests,
    so that two versions can be told apart without a value being shown. Neither leaves the server.
    """

    service: str
    n: int
    sealed: dict[str, str]
    marks: dict[str, str]
    by: str
    reason: str
    at: datetime
    change_class: ChangeClass = ChangeClass.FEATURE
    restores: int | None = None

    @property
    def key(self) -> str:
        """``project/environment/service/n``, zero-padded."""
        return f"{self.service}/{self.n:06d}"
