"""What class a change is of, where nobody names one: by what GitHub says of the workflow's event.

Source: GitHub Docs, "Variables" (GITHUB_EVENT_PATH: the file with the webhook's payload).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from poise.model.delivery import ChangeClass
from poise.model.errors import Invalid
from poise.model.policy import ClassRule
from poise.spec.commits import Classified, classified

EVENT: Final = "GITHUB_EVENT_PATH"


class Told(Struct, frozen=True, kw_only=True):
    """What is known of a change: its class, labels of its pull request, or the message that was pushed."""

    named: ChangeClass | None = None
    labels: tuple[str, ...] = ()
    message: str = ""
    source: str = ""

    @property
    def needs_rules(self) -> bool:
        """Whether the policy's rules have a say."""
        return self.named is None and bool(self.labels or self.message)

    def classified(self, rules: Sequence[ClassRule]) -> Classified:
        """The class by name, else by a trailer, a label, the subject; else it is a feature."""
        if self.named is not None:
            return Classified(change_class=self.named, why="--class")
        found = classified(self.message, (), rules, self.labels)
        return msgspec.structs.replace(found, why=f"{found.why} ({self.source})") if found.why else found


def told_of(named: ChangeClass | None) -> Told:
    """What ``--class`` names, else what the workflow's event says. Raises ``Invalid`` for an odd file."""
    path = os.environ.get(EVENT, "")
    if named is not None or not path:
        return Told(named=named)
    try:
        event = msgspec.json.decode(Path(path).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(
            "POISE-E215", f"{EVENT} cannot be read", where=path, why=str(error)[:200],
            mend="Name the class: --class feature, fix or security.",
        ) from None  # fmt: skip
    pull, head = _record(event.get("pull_request")), _record(event.get("head_commit"))
    names = [_record(one).get("name") for one in pull.get("labels") or ()]
    message = head.get("message")
    return Told(
        labels=tuple(name for name in names if isinstance(name, str)),
        message=message if isinstance(message, str) else "",
        source=f"pull request {pull.get('number')}" if pull else "the commit that was pushed",
    )


def _record(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
