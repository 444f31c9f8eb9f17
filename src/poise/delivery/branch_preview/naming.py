"""The name of a branch as one label of a host name: pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Final

from poise.model.branch_preview import LABEL_CHARS

HASH_CHARS: Final = (6, 12, 40)  # digits of the branch's hash, more where fewer are taken


def label_of(branch: str, owners: Mapping[str, str], hosts: Collection[str], bases: Collection[str]) -> str:
    """A label that no other branch has and under which nothing declared is reached; the same each time.

    ``owners`` are branches by the label that they have, ``hosts`` every declared host name, ``bases`` those
    of the services that are looked at. Where the plain name is too long or taken, digits of the branch's
    SHA-256 tell it apart. Source: RFC 1035, 2.3.1 (letters, digits and hyphens; at most 63).

    >>> label_of("feature/login-2", {}, (), ("shop.localhost",))
    'feature-login-2'
    >>> label_of("feature/a", {"feature-a": "feature-a"}, (), ("shop.localhost",))
    'feature-a-35bb00'
    """
    mine = next((label for label, owner in owners.items() if owner == branch), None)
    if mine is not None:
        return mine
    plain = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")
    marked = _marked(branch, plain or "branch")
    candidates = [plain, *marked] if 0 < len(plain) <= LABEL_CHARS else marked

    def is_free(label: str) -> bool:
        return label not in owners and not any(f"{label}.{base}" in hosts for base in bases)

    return next(filter(is_free, candidates), candidates[-1])


def _marked(branch: str, plain: str) -> list[str]:
    digits = hashlib.sha256(branch.encode(errors="replace")).hexdigest()
    return [f"{plain[: LABEL_CHARS - chars - 1].rstrip('-')}-{digits[:chars]}" for chars in HASH_CHARS]
