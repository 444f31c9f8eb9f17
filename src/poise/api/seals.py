"""What the front door seals: values that must be read again and never shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from poise.adapters.sealing import Sealer
from poise.model.config import Secret
from poise.model.exchange import Hook

_NAME: Final = "secret"
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def sealed(sealer: Sealer, about: str, value: str) -> str:
    """``value`` encrypted under the installation's key; it opens only ``about`` the same thing."""
    return sealer.seal(f"@hook/{about}", {_NAME: value})[_NAME]


def opened(sealer: Sealer, about: str, value: str) -> str:
    """The plain value. Raises ``Unsealable`` with a mend."""
    about = f"@hook/{about}"
    kept = Secret(service=about, n=0, sealed={_NAME: value}, marks={}, by="", reason="", at=_NEVER)
    return sealer.unseal(kept)[_NAME]


def credential_of(sealer: Sealer, hook: Hook) -> str:
    """``user:password`` of a hook's remote; empty when it needs none."""
    return opened(sealer, f"{hook.key}/credential", hook.credential) if hook.credential else ""
