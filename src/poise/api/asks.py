"""The bodies that people send."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from poise.model.access import Role
from poise.model.delivery import ChangeClass, Verb
from poise.model.grant import Cause, GrantKind
from poise.spec.limits import RULE_FILES, SCRAPE_FILES

Name = Annotated[str, Meta(pattern="^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
Reason = Annotated[str, Meta(min_length=3, max_length=500)]
Number = Annotated[int, Meta(ge=1, le=999_999)]
Digest = Annotated[str, Meta(max_length=100)]
FilePath = Annotated[str, Meta(max_length=1000)]
SpecText = Annotated[str, Meta(max_length=262_144)]


class MakeProject(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project is a repository; its name is part of every key."""

    name: Name


class GiveOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a room shall do, and why a person wants it."""

    verb: Verb
    reason: Reason
    release: Number | None = None
    rollout: Number | None = None


class AskGate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """May a change of this class go now?"""

    change_class: ChangeClass = ChangeClass.FEATURE
    digest: Digest | None = None


class MakeOverride(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let changes go against the gate for a while."""

    reason: Reason
    expires_s: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0
    digest: Digest | None = None


class AskGrant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wish: an approval, an exemption with its cause, or a ruling over a disagreement."""

    kind: GrantKind
    reason: Reason
    expires_s: Annotated[float, Meta(gt=0, le=2_419_200)] = 3600.0
    digest: Digest | None = None
    cause: Cause | None = None


class DecideGrant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a second person makes of it."""

    allowed: bool
    reason: Reason


class Approve(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second person's agreement to an override, which has its reason; theirs is added to it."""

    reason: Reason | None = None


class ApplySpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text of a ``poise.yaml``, and of the files that it names by their path in the repository."""

    text: SpecText
    filename: Annotated[str, Meta(max_length=200)] = "poise.yaml"
    files: Annotated[dict[FilePath, SpecText], Meta(max_length=RULE_FILES + 2 * SCRAPE_FILES)] = {}


class MakePrincipal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person or machine and its roles by project."""

    name: Name
    roles: Annotated[dict[str, Role], Meta(max_length=100)] = {}


class MakeToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token for a principal."""

    principal: Name
    expires_s: Annotated[float, Meta(gt=0, le=31_536_000)] = 7_776_000.0
