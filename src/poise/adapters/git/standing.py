"""What is on record of a project while somebody pushes to it: the server tells the hook, which cannot ask."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from poise.model.service import Previews

_VARIABLE: Final = "POISE_STANDING"


class Standing(Struct, frozen=True, kw_only=True):
    """The branch that is released, and which others are looked at."""

    branch: str
    previews: Previews


def told(standing: Standing | None) -> dict[str, str]:
    """The variables by which the hook learns it; none where nothing is on record."""
    return {} if standing is None else {_VARIABLE: msgspec.json.encode(standing).decode()}


def heard(variables: Mapping[str, str] = os.environ) -> Standing | None:
    """What the server told; None where it had nothing to tell, or another program pushes by the path."""
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(variables.get(_VARIABLE, ""), type=Standing)
    return None
