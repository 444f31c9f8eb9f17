"""What is asked and answered about config and secrets. A secret's value is asked for and never answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from poise.api.asks import Reason
from poise.api.views import Page
from poise.model.delivery import ChangeClass


class ChangeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values to set and names to remove; all that is not named stays as it is."""

    set: Annotated[dict[str, str], Meta(max_length=200)] = {}
    unset: Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=200)] = []
    reason: Reason
    change_class: ChangeClass = ChangeClass.FEATURE


class RestoreSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take over the values of version ``to``: 0 is none at all, None the version before the newest."""

    to: Annotated[int, Meta(ge=0, le=999_999)] | None = None
    reason: Reason


class Setting(Struct, frozen=True, kw_only=True):
    """One name; ``value`` is None for a secret; ``changed_in`` is the version that last changed it."""

    name: str
    value: str | None
    changed_in: int


class SettingVersion(Struct, frozen=True, kw_only=True):
    """One version of the settings: who made it, why, and which names it changed."""

    n: int
    by: str
    reason: str
    at: datetime
    change_class: ChangeClass
    restores: int | None = None
    rejected: bool = False
    changed: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of a service at version ``n`` (0: none yet); ``live`` is the version that users get.

    Where none was asked for, ``n`` is the one that stands: ``newest`` unless it was rejected. ``versions`` is
    a page of all, ascending.
    """

    service: str
    n: int
    newest: int
    live: int | None
    items: tuple[Setting, ...]
    versions: Page[SettingVersion]


class SettingChange(Struct, frozen=True, kw_only=True):
    """What became of a name: ``change`` is set, changed or unset; values are None for a secret."""

    name: str
    change: str
    before: str | None = None
    after: str | None = None


class Changed(Struct, frozen=True, kw_only=True):
    """The version in force now, and what it changed; nothing when it was so already."""

    n: int
    changes: tuple[SettingChange, ...]
    sentence: str
