"""Who may do what: principals, roles, tokens."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class Role(StrEnum):
    """Roles per project, each including the ones before it."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Position in the order; a higher rank includes the lower ones."""
        return list(Role).index(self)


class Principal(Struct, frozen=True, kw_only=True):
    """A person or a machine; ``roles`` by project, ``*`` meaning every project. Written by access."""

    name: str
    roles: dict[str, Role] = {}

    @property
    def key(self) -> str:
        """The principal's name."""
        return self.name

    def role_in(self, project: str) -> Role | None:
        """The highest role that this principal has in ``project``."""
        held = [self.roles[scope] for scope in (project, "*") if scope in self.roles]
        return max(held, key=lambda role: role.rank, default=None)


class Token(Struct, frozen=True, kw_only=True):
    """A credential, kept only as a hash; key: its id. ``once`` tokens are spent by a login."""

    id: str
    principal: str
    hash: str
    expires_at: datetime
    once: bool = False
    session: bool = False
    revoked: bool = False

    @property
    def key(self) -> str:
        """The token's id."""
        return self.id


class Answer(Struct, frozen=True, kw_only=True):
    """What a create with an Idempotency-Key answered; key: principal/route/key. Asked again: this."""

    request_hash: str
    status: int
    body: bytes
    at: datetime
