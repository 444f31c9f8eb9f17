"""Config and secrets: set, list, get, diff, rollback. A secret's value is never typed into a command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from poise.api.setting_views import Changed, ChangeSettings, RestoreSettings, SettingChange, Settings
from poise.cli import output
from poise.cli.client import Client
from poise.cli.observe import service_path
from poise.cli.place import COMMON, Common, service_key
from poise.model.delivery import ChangeClass
from poise.model.errors import Invalid, NotFound

VERSIONS_SHOWN = 10

config = App(name="config", help="Settings of a service, in versions; a change passes the gate.")
secret = App(name="secret", help="Secrets of a service, in versions; values are never shown again.")

Reason = Annotated[str, Parameter(help="Why; kept in the journal.")]
Fix = Annotated[bool, Parameter(negative="", help="It mends something: the gate treats it as a fix.")]
Security = Annotated[bool, Parameter(negative="", help="It closes a hole: the gate treats it so.")]
Unset = Annotated[list[str] | None, Parameter(negative="", help="A name to remove; may be repeated.")]
Version = Annotated[int, Parameter(help="A version's number; 0 is before the first.")]


@config.command(name="set")
def set_config(
    service: str,
    *pairs: Annotated[str, Parameter(help="NAME=VALUE")],
    unset: Unset = None,
    reason: Reason = "set by hand",
    fix: Fix = False,
    security: Security = False,
    common: Common = COMMON,
) -> None:
    """Set values: a new version, which passes the gate and is rolled out."""
    values = dict(_pair(one) for one in pairs)
    _change("config", service, _ask(values, unset, reason, fix, security), common)


@secret.command(name="set")
def set_secret(
    service: str,
    *names: Annotated[str, Parameter(help="NAME; its value is asked for, or read from stdin.")],
    from_file: Annotated[Path | None, Parameter(help="Read the value of the one NAME from a file.")] = None,
    unset: Unset = None,
    reason: Reason = "set by hand",
    fix: Fix = False,
    security: Security = False,
    common: Common = COMMON,
) -> None:
    """Set secrets: a new version, which passes the gate and is rolled out.

    A value is asked for without echo; or it comes from stdin or a file, whose last line's end is left out.
    """
    for name in names:
        if "=" in name:
            key = name.partition("=")[0]
            raise Invalid(
                "POISE-E642",
                "a secret's value stands in the command",
                why="It is in the shell's history and in the list of processes by now: count it as known.",
                mend=f"Make a new value, then: poise secret set {service} {key}",
            )
    values = _secret_values(service, names, from_file)
    _change("secret", service, _ask(values, unset, reason, fix, security), common)


def _secret_values(service: str, names: tuple[str, ...], from_file: Path | None) -> dict[str, str]:
    if not names:
        return {}
    if len(names) > 1 and (from_file is not None or not sys.stdin.isatty()):
        raise Invalid(
            "POISE-E643",
            f"one value for {len(names)} names",
            mend=f"One after another: poise secret set {service} {names[0]} < FILE",
        )
    if from_file is not None:
        try:
            return {names[0]: _unended(from_file.read_text())}
        except FileNotFoundError:
            raise NotFound("POISE-E301", f"no {from_file}", mend="Name a file that is there") from None
        except UnicodeDecodeError:
            mend = f"base64 -w0 {from_file} | poise secret set {service} {names[0]}"
            raise Invalid("POISE-E303", f"{from_file} is not UTF-8 text", mend=mend) from None
    if not sys.stdin.isatty():
        return {names[0]: _unended(sys.stdin.read())}
    from getpass import getpass

    return {name: getpass(f"{name}: ") for name in names}


def _unended(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise Invalid("POISE-E644", f"{text!r} sets nothing", mend=f"Write NAME=VALUE, or: --unset {text}")
    return name, value


def _ask(
    values: dict[str, str], unset: list[str] | None, reason: str, fix: bool, security: bool
) -> ChangeSettings:
    if not values and not unset:
        raise Invalid("POISE-E644", "nothing is to be set or unset", mend="Name at least one")
    change = ChangeClass.SECURITY if security else ChangeClass.FIX if fix else ChangeClass.FEATURE
    return ChangeSettings(set=values, unset=unset or [], reason=reason, change_class=change)


def _change(kind: str, service: str, ask: ChangeSettings, common: Common) -> None:
    path = f"{service_path(service_key(common, service))}/{kind}"
    with Client(common) as client:
        newest = client.get(path, Settings, limit=1)
        done = client.put(path, ask, Changed, if_match=f'"{newest.newest}"')
    _tell(done, common)


def _tell(done: Changed, common: Common) -> None:
    if common.json:
        return output.data(done)
    for one in done.changes:
        output.say(_line(one))
    return output.say(done.sentence)


def _line(one: SettingChange) -> str:
    sign = {"set": "+", "unset": "-"}.get(one.change, "~")
    values = " -> ".join(value for value in (one.before, one.after) if value is not None)
    return f"{sign} {one.name}" + (f": {values}" if values else "")


@config.command
def get(service: str, name: str, *, common: Common = COMMON) -> None:
    """One value of the newest version, as it is."""
    found = _read("config", service, common)
    for one in found.items:
        if one.name == name:
            return output.data(one) if common.json else output.say(one.value or "")
    known = ", ".join(one.name for one in found.items) or "none yet"
    mend = f"poise config set {service} {name}=VALUE"
    raise NotFound(
        "POISE-E404", f"no {name} in the config", where=found.service, why=f"There is {known}.", mend=mend
    )


def _read(kind: str, service: str, common: Common, **query: Any) -> Settings:
    with Client(common) as client:
        return client.get(f"{service_path(service_key(common, service))}/{kind}", Settings, **query)


def _list(kind: str, service: str, common: Common) -> None:
    found = _read(kind, service, common, limit=1)
    first = max(0, found.newest - VERSIONS_SHOWN)
    found = _read(kind, service, common, cursor=f"{found.service}/{first:06d}", limit=VERSIONS_SHOWN)
    if common.json:
        return output.data(found)
    if not found.newest:
        pair = "NAME=VALUE" if kind == "config" else "NAME"
        return output.say(f"No {kind} yet. Set one: poise {kind} set {service} {pair}")
    live = f"users get version {found.live}" if found.live is not None else "nothing is live"
    output.say(f"{found.service}: {kind} {found.n}; {live}.")
    headers = ("name", "value", "changed in") if kind == "config" else ("name", "changed in")
    output.table(
        headers,
        [
            (one.name, *(() if one.value is None else (one.value,)), str(one.changed_in))
            for one in found.items
        ],
    )
    output.table(
        ("version", "at", "by", "changed", "", "reason"),
        [
            (
                str(one.n), f"{one.at:%Y-%m-%d %H:%M}", one.by,
                ", ".join((*one.changed, *(f"-{name}" for name in one.unset))),
                "rejected" if one.rejected else "live" if one.n == found.live else "", one.reason,
            )
            for one in reversed(found.versions.items)
        ],
    )  # fmt: skip
    return None


def _diff(kind: str, service: str, before: int | None, after: int | None, common: Common) -> None:
    if after is None:
        after = _read(kind, service, common, limit=1).newest
    before = max(0, after - 1) if before is None else before
    path = f"{service_path(service_key(common, service))}/{kind}/{before}/differences/{after}"
    with Client(common) as client:
        found = client.get(path, list[SettingChange])
    if common.json:
        return output.data(found)
    for one in found:
        output.say(_line(one))
    return None if found else output.say(f"{kind.capitalize()} {before} and {after} have the same values.")


def _rollback(kind: str, service: str, to: int | None, reason: str, common: Common) -> None:
    path = f"{service_path(service_key(common, service))}/{kind}/rollback"
    with Client(common) as client:
        done = client.post(path, RestoreSettings(to=to, reason=reason), Changed)
    _tell(done, common)


@config.command(name="list")
def list_config(service: str, *, common: Common = COMMON) -> None:
    """Names, values and the newest versions."""
    _list("config", service, common)


@secret.command(name="list")
def list_secrets(service: str, *, common: Common = COMMON) -> None:
    """Names and the newest versions; values are never shown."""
    _list("secret", service, common)


@config.command(name="diff")
def diff_config(
    service: str, before: Version | None = None, after: Version | None = None, *, common: Common = COMMON
) -> None:
    """What changed from one version to another; by default the newest against the one before."""
    _diff("config", service, before, after, common)


@secret.command(name="diff")
def diff_secrets(
    service: str, before: Version | None = None, after: Version | None = None, *, common: Common = COMMON
) -> None:
    """Which names changed from one version to another; by default the newest against the one before."""
    _diff("secret", service, before, after, common)


@config.command(name="rollback")
def rollback_config(
    service: str,
    *,
    to: Annotated[int | None, Parameter(help="The version; the one before by default.")] = None,
    reason: Reason = "rolled back by hand",
    common: Common = COMMON,
) -> None:
    """A new version with the values of an older one. Always allowed."""
    _rollback("config", service, to, reason, common)


@secret.command(name="rollback")
def rollback_secrets(
    service: str,
    *,
    to: Annotated[int | None, Parameter(help="The version; the one before by default.")] = None,
    reason: Reason = "rolled back by hand",
    common: Common = COMMON,
) -> None:
    """A new version with the values of an older one. Always allowed."""
    _rollback("secret", service, to, reason, common)
