"""What a form of a page asks for, handed to the very route of the API that decides it."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any, Final, TypeVar

import msgspec
from litestar import Request
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.params import Body
from msgspec import Struct

from poise.api.read import parts_of
from poise.model.errors import Invalid
from poise.web import compose, sign_in, views
from poise.web.parts import REASON_LENGTH_MAX

Asked = Request[Any, Any, Any]
Form = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]
REASON_LENGTH_MIN: Final = 3
T = TypeVar("T", bound=Struct)


async def around(request: Asked, project: str = "") -> tuple[views.Chrome, list[Cookie]]:
    """The chrome for this reader, and the cookie that pairs with its forms."""
    csrf, cookies = sign_in.csrf_of(request)
    return await compose.chrome(parts_of(request), request.scope["user"], csrf, project), cookies


def once(request: Asked, data: dict[str, str]) -> Asked:
    """The request as the API takes it: a form that was sent twice by a double click is one ask.

    Raises ``Forbidden`` when the form is not from our page. ``once`` in the form tells two like asks apart.
    """
    sign_in.same_form(request, data)
    told = "\n".join(f"{name}={value}" for name, value in sorted(data.items()))
    key = sha256(told.encode()).hexdigest()
    headers = [pair for pair in request.scope["headers"] if pair[0] != b"idempotency-key"]
    more = [*headers, (b"idempotency-key", key.encode())]
    scope: Any = {
        **request.scope,
        "headers": more,
        "state": {},
    }  # what was parsed of the old headers stays out
    return Request(scope)


def reason_of(data: dict[str, str]) -> str:
    """Why a person asks for it; ``Invalid`` without."""
    reason = data.get("reason", "").strip()
    if not REASON_LENGTH_MIN <= len(reason) <= REASON_LENGTH_MAX:
        raise Invalid("POISE-E424", "a reason is needed", why="It is kept in the journal.")
    return reason


def asked(data: dict[str, str], type_: type[T]) -> T:
    """The fields of a form as the API's ask; ``Invalid`` for what the API would refuse."""
    known = {name: value for name, value in data.items() if name in type_.__struct_fields__}
    try:
        return msgspec.convert(known, type_, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid("POISE-E424", f"the form is not complete: {error}") from error
