"""What is on this machine's disk, against what was packed and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from poise.model.drift import Finding


class Disk(Protocol):
    """Looks at files; changes none. Every method reads many files: call it in a thread.

    An ``OSError`` says that it could not look, which is no finding.
    """

    def releases(self, packed: Mapping[str, datetime]) -> Sequence[Finding]:
        """Files of releases (digest -> when it was packed) that are not what the digest says."""
        ...

    def traffic(self) -> Sequence[Finding]:
        """The proxy's files that are not what was last written."""
        ...
