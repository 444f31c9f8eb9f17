"""What routes take from the path and the query, each with its bound."""

from __future__ import annotations

from typing import Annotated, Final

from litestar.params import PathParameter, QueryParameter
from msgspec import Meta

COUNT_MAX: Final = 2**53  # what JSON carries exactly; far below what the store can hold

Part = Annotated[str, PathParameter(min_length=1, max_length=100)]
Number = Annotated[int, PathParameter(ge=0, le=999_999)]  # keys pad numbers to six digits
Limit = Annotated[int, QueryParameter(ge=1, le=500)]
Lines = Annotated[int, QueryParameter(ge=1, le=5000)]
Cursor = Annotated[str, QueryParameter(max_length=300)]
After = Annotated[int, QueryParameter(ge=0, le=COUNT_MAX)]
Subject = Annotated[str, QueryParameter(max_length=300)]
Subjects = Annotated[tuple[Annotated[str, Meta(max_length=300)], ...], QueryParameter(max_items=5)]
OfProject = Annotated[str | None, QueryParameter(max_length=100)]
Flag = Annotated[bool, QueryParameter()]
