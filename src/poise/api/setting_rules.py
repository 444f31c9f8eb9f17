"""What a setting may be called and how large it may be: pure checks, each with a mend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from poise.model.errors import Conflict, Invalid, TooLarge
from poise.spec.problems import nearest

NAME_MAX: Final = 100
NAMES_MAX: Final = 200
VALUE_BYTES_MAX: Final = 32_768
TOTAL_BYTES_MAX: Final = 262_144  # far below what a process can be started with
RESERVED: Final = frozenset(("PATH", "HOME", "PORT"))
RESERVED_PREFIXES: Final = ("POISE_", "LD_")
_NAME: Final = re.compile(r"[A-Z_][A-Z0-9_]*")


def check_names(names: Iterable[str]) -> None:
    """Raise ``Invalid`` for a name that the environment of a process may not, or shall not, have."""
    for name in names:
        if len(name) > NAME_MAX or not _NAME.fullmatch(name):
            raise Invalid(
                "POISE-E630",
                f"{name[:NAME_MAX]!r} is no name for a setting",
                why=f"A name is at most {NAME_MAX} of A-Z, 0-9 and _, and begins with no digit.",
                mend=f"Call it {_nearest_name(name)}",
            )
        if name in RESERVED or name.startswith(RESERVED_PREFIXES):
            raise Invalid(
                "POISE-E631",
                f"{name} is set by Poise itself",
                why=f"Reserved are {', '.join(sorted(RESERVED))} and all that begins with "
                f"{' or '.join(RESERVED_PREFIXES)}.",
                mend=f"Call it APP_{name}",
            )


def check_values(values: Mapping[str, str]) -> None:
    """Raise for a value that no process can be given, or that is over its limit."""
    for name, value in values.items():
        if "\0" in value:
            raise Invalid("POISE-E632", f"the value of {name} has a NUL", mend="Give it in base64")
        if len(value.encode()) > VALUE_BYTES_MAX:
            raise TooLarge(
                "POISE-E633",
                f"the value of {name} is over {VALUE_BYTES_MAX} bytes",
                mend="Put it into a file of the release, or fetch it at start",
            )


def check_whole(values: Mapping[str, str], kind: str) -> None:
    """Raise ``TooLarge`` for more settings than a service may have. ``values`` may be sealed ones."""
    if len(values) > NAMES_MAX:
        raise TooLarge("POISE-E634", f"over {NAMES_MAX} names", mend=f"poise {kind} set SERVICE --unset NAME")
    if sum(len(name) + len(value.encode()) for name, value in values.items()) > TOTAL_BYTES_MAX:
        raise TooLarge(
            "POISE-E634",
            f"all values together are over {TOTAL_BYTES_MAX} bytes",
            mend=f"poise {kind} set SERVICE --unset NAME",
        )


def check_apart(names: Iterable[str], others: Iterable[str], other: str) -> None:
    """Raise ``Conflict`` for a name that is a config and a secret at once: which would the process get?"""
    both = sorted(set(names) & set(others))
    if both:
        raise Conflict(
            "POISE-E635",
            f"{', '.join(both)} is {'a' if len(both) == 1 else 'in the'} {other} of this service already",
            mend=f"poise {other} set SERVICE --unset {both[0]}",
        )


def check_unset(names: Iterable[str], known: Iterable[str]) -> None:
    """Raise ``Invalid`` for a name that is to go and is not there."""
    there = sorted(known)
    for name in names:
        if name not in there:
            why = nearest(name, there) or "None is set."
            raise Invalid("POISE-E636", f"{name[:NAME_MAX]} is not set", why=why, mend="List them first")


def check_secret(service: str, name: str, value: str) -> None:
    """Raise ``Invalid`` for a value that cannot be a secret."""
    if not value.strip():
        raise Invalid(
            "POISE-E637",
            f"the value of {name} is empty",
            mend=f"To remove it: poise secret set SERVICE --unset {name}",
        )
    if value.strip() in service.split("/"):
        raise Invalid(
            "POISE-E638",
            f"the value of {name} is the name of something that everybody sees",
            where=service,
            mend="Choose another: openssl rand -hex 16",
        )


def _nearest_name(name: str) -> str:
    made = re.sub(r"[^A-Z0-9_]+", "_", name.upper())[:NAME_MAX].strip("_") or "NAME"
    return f"_{made}" if made[0].isdigit() else made
