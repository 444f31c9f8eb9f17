"""What people grant against the policy's letter: approvals, exemptions, rulings. Signed, and they expire."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class GrantKind(StrEnum):
    """What is granted."""

    APPROVAL = "approval"  # a feature goes, slowly, where the policy wants an operator's word
    EXEMPTION = "exemption"  # the budget was spent by a cause elsewhere: no freeze
    RULING = "ruling"  # people disagree with the policy's outcome; those it names decide


class Cause(StrEnum):
    """Why a budget was spent without the team's doing. Source: SRE workbook, appendix B."""

    NETWORK = "network"  # a fault of the whole company's network
    DEPENDENCY = "dependency"  # a service of another team, which has frozen its releases
    OUT_OF_SCOPE = "out-of-scope"  # load tests, users whom the objective does not cover
    MISCOUNTED = "miscounted"  # errors that hurt no user


class Grant(Struct, frozen=True, kw_only=True):
    """A wish and what became of it; key ``project/environment/service/n``. Written by gate.

    ``by`` asks for it; ``decided_by`` is another person, or the same where there is no other (``alone``).
    ``allowed`` None: nobody has decided yet, so it grants nothing. ``signature`` is an HMAC by the
    installation's key over the other fields, so that editing the store grants nothing.
    """

    kind: GrantKind
    service: str
    n: int
    by: str
    reason: str
    at: datetime
    expires_at: datetime
    digest: str | None = None
    cause: Cause | None = None
    decided_by: str = ""
    decided_at: datetime | None = None
    allowed: bool | None = None
    alone: bool = False
    signature: str = ""

    @property
    def key(self) -> str:
        """``project/environment/service/n``, zero-padded."""
        return f"{self.service}/{self.n:06d}"

    def is_in_force(self, now: datetime, digest: str) -> bool:
        """Whether it grants something to this digest now."""
        return self.allowed is True and self.at <= now < self.expires_at and self.digest in (None, digest)

    def is_open(self, now: datetime) -> bool:
        """Whether it waits for somebody to decide."""
        return self.allowed is None and now < self.expires_at
