"""Bodies without their gzip, never larger than is allowed."""

from __future__ import annotations

import zlib

from poise.model.errors import Invalid, TooLarge


def unpacked(body: bytes, encoding: str, at_most: int) -> bytes:
    """The body without its gzip, never more than ``at_most`` bytes of it."""
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise Invalid(
            "POISE-M301", f"the content encoding {encoding[:40]!r} is not read", mend="Send gzip, or none."
        )
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(body, at_most + 1)
    except zlib.error as error:
        raise Invalid("POISE-M302", "the body is not gzip", why=f"{error}.") from None
    if len(text) > at_most:
        raise TooLarge(
            "POISE-M303", "the body is too large once decompressed", why=f"At most {at_most} bytes are read.",
            mend="Send less at once.",
        )  # fmt: skip
    if not unpacker.eof:
        raise Invalid("POISE-M302", "the body is not gzip", why="It ends too soon.")
    return text
