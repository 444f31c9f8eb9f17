"""Why a query has no answer. ``error_type`` is the word of Prometheus' HTTP API."""

from __future__ import annotations

from typing import ClassVar

from poise.model.errors import Invalid, TimedOut, TooLarge


class QueryInvalid(Invalid):
    """The expression does not parse, or cannot be evaluated over these series."""

    def __init__(
        self, what: str, *, where: str = "", why: str = "", mend: str = "", parsed: bool = True
    ) -> None:
        super().__init__("POISE-E480", what, where=where, why=why, mend=mend)
        self.error_type = "execution" if parsed else "bad_data"


class Unsupported(Invalid):
    """PromQL that Poise does not evaluate; the text names it."""

    error_type: ClassVar[str] = "execution"

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(
            "POISE-E481",
            f"{what} are not supported",
            mend=mend or "Use floats and classic histograms (_bucket).",
        )


class QueryTooLarge(TooLarge):
    """The query reads or answers more than one query may."""

    error_type: ClassVar[str] = "execution"

    def __init__(self, what: str, mend: str) -> None:
        super().__init__("POISE-E482", what, mend=mend)


class QueryTimedOut(TimedOut):
    """The query took longer than one query may."""

    error_type: ClassVar[str] = "timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "POISE-E483",
            f"the query took longer than {seconds:g} s",
            mend="Ask for a shorter range, a larger step or fewer series.",
        )
