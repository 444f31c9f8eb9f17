"""``poise key``: the keys whose provenance is believed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from poise.api.views import Created, Page
from poise.cli import output
from poise.cli.client import Client
from poise.cli.place import COMMON, Common, text_of
from poise.model.attestation import TrustedKey

key = App(name="key", help="Keys that sign provenance: list, show, rotate, trust, remove.")
KeyId = Annotated[str, Parameter(help="The key's id, or at least 8 of its first characters.")]
Reason = Annotated[str, Parameter(help="Why; kept in the journal.")]


@key.command(name="list")
def list_(*, common: Common = COMMON) -> None:
    """Every key that is or was trusted."""
    with Client(common) as client:
        found = client.get("/api/v1/keys", Page[TrustedKey]).items
    if common.json:
        return output.data(found)
    rows = [
        (one.key_id, _state(one), one.name, f"{one.made_at:%Y-%m-%d}", one.reason)
        for one in sorted(found, key=lambda one: one.made_at)
    ]
    output.table(("KEY", "STATE", "OF", "SINCE", "WHY"), rows)
    return None


@key.command
def show(key_id: KeyId = "current", *, common: Common = COMMON) -> None:
    """The public key in PEM; without an id the one that signs now. For cosign, openssl and other houses."""
    with Client(common) as client:
        found = client.get(f"/api/v1/keys/{key_id}", TrustedKey)
    if common.json:
        return output.data(found)
    sys.stdout.write(found.public_pem)
    output.talk(common, f"key {found.key_id}: {_state(found)}")
    return None


@key.command
def rotate(*, reason: Reason, common: Common = COMMON) -> None:
    """A fresh key signs from now on; what the old one signed stays good until you remove that one."""
    with Client(common) as client:
        done = client.post("/api/v1/keys/rotations", {"reason": reason}, Created)
    output.data(done) if common.json else output.say(done.sentence)


@key.command
def trust(
    file: Annotated[Path, Parameter(help="A public key (ed25519) in PEM.")],
    *,
    reason: Reason,
    name: Annotated[str, Parameter(help="Whose it is; the file's name by default.")] = "",
    days: Annotated[int | None, Parameter(help="For so long; until it is removed by default.")] = None,
    common: Common = COMMON,
) -> None:
    """Believe a key: of another installation, or one that was removed or has expired."""
    body = {"public_pem": text_of(file), "name": name or file.stem, "reason": reason, "days": days}
    with Client(common) as client:
        done = client.post("/api/v1/keys", body, Created)
    output.data(done) if common.json else output.say(done.sentence)


@key.command
def remove(key_id: KeyId, *, reason: Reason, common: Common = COMMON) -> None:
    """Believe a key no more: nothing that it signed starts again. What runs goes on."""
    with Client(common) as client:
        done = client.delete(f"/api/v1/keys/{key_id}", Created, reason=reason)
    output.data(done) if common.json else output.say(done.sentence)


def _state(one: TrustedKey) -> str:
    if one.removed_at is not None:
        return f"removed by {one.removed_by}"
    if one.expires_at is not None:
        return f"trusted until {one.expires_at:%Y-%m-%d}"
    if not one.own:
        return "trusted"
    return "retired, trusted" if one.retired_at is not None else "signs"
