"""What a forge's webhook says of pushes and pull requests, and whether the forge said it.

``verify`` looks at raw bytes and headers alone; nothing of a body is parsed before it has passed.
Source: docs.github.com "Validating webhook deliveries"; docs.gitea.com "Webhooks"; docs.gitlab.com
"Webhooks" (secret and signing token); standardwebhooks.com, "Signature scheme".
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct

from poise.model.exchange import Forge

TOLERANCE: Final = timedelta(minutes=5)
ID_CHARS: Final = 200
SUMMARY_CHARS: Final = 200
NAME_CHARS: Final = 100
LABELS_MAX: Final = 100  # GitHub allows as many
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how one begins

Headers = Mapping[str, tuple[str, ...]]  # by lower-case name, every value that was sent

_SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NOT_A_BRANCH: Final = re.compile(r"\.\.|//|@\{|\.lock(/|$)|[/.]$")  # git-check-ref-format(1)
_BRANCH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@#-]{0,199}")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_STAMP: Final = re.compile(r"[0-9]{1,11}")
_SIGNATURES: Final = re.compile(r"v[0-9]a?,[A-Za-z0-9+/=]+(?: v[0-9]a?,[A-Za-z0-9+/=]+){0,4}")
_ENDED: Final = frozenset({"0" * 40, "0" * 64})


class Pushed(Struct, frozen=True, kw_only=True):
    """A push as a forge tells of it: the branch's new head and who pushed it."""

    branch: str
    commit: str
    by: str
    author: str
    message: str
    committed_at: datetime | None
    forced: bool = False


class Labelled(Struct, frozen=True, kw_only=True):
    """A pull request as a forge tells of it, into ``base``; ``commits`` are its head and its merge."""

    number: int
    base: str
    commits: tuple[str, ...]
    labels: tuple[str, ...]


class Malformed(ValueError):
    """The body is authentic and still not what the forge documents; the message says where."""


class Ignored(ValueError):
    """An authentic message about something that Poise does not follow; the message says what."""


def verify(forge: Forge, secret: str, headers: Headers, body: bytes, now: datetime) -> bool:
    """Whether a holder of ``secret`` sent these bytes. Compares in constant time.

    A header that is there twice is no header: two readers could read two values.
    """
    if forge is Forge.GITLAB:
        return _gitlab(secret, headers, body, now)
    if forge is Forge.GITHUB:
        scheme, _, told = _one(headers, "x-hub-signature-256").partition("=")
        return scheme == "sha256" and _same_mac(secret, body, told)
    return _same_mac(secret, body, _of(forge, headers, "signature"))


def identities(forge: Forge, headers: Headers, body: bytes) -> tuple[str, ...]:
    """The digests by which a delivery is known again, one or two; each alone makes a replay.

    Where the signature covers the body alone (GitHub, Gitea, Forgejo) an id in a header can be swapped by
    whoever repeats the message, so the body counts as well. GitLab's id is either signed or guarded by
    nothing that a body could add to.
    """
    told = delivery_id(forge, headers)
    by_id = (_digest(b"id", told.encode()),) if told else ()
    by_body = (_digest(b"body", body),)
    return (by_id or by_body) if forge is Forge.GITLAB else by_id + by_body


def delivery_id(forge: Forge, headers: Headers) -> str:
    """What the forge calls this delivery; empty when it does not say."""
    match forge:
        case Forge.GITHUB:
            found = _one(headers, "x-github-delivery")
        case Forge.GITLAB:
            found = _one(headers, "webhook-id") or _one(headers, "x-gitlab-event-uuid")
        case _:
            found = _of(forge, headers, "delivery")
    return found if len(found) <= ID_CHARS else ""


def event_of(forge: Forge, headers: Headers) -> str:
    """``push``, ``pull_request`` (also GitLab's merge request), ``ping``, or what else the forge calls it."""
    match forge:
        case Forge.GITHUB:
            return _one(headers, "x-github-event")
        case Forge.GITLAB:
            named = _one(headers, "x-gitlab-event")
            return {"Push Hook": "push", "Merge Request Hook": "pull_request"}.get(named, named)
        case _:
            return _of(forge, headers, "event")


def read_push(forge: Forge, body: bytes) -> Pushed:
    """The push in an authentic body. Raises ``Malformed``, or ``Ignored`` for a tag or a deletion."""
    said = _object(body)
    ref, after = _text(said, "ref"), _text(said, "after")
    if not ref.startswith("refs/heads/"):
        raise Ignored("not a branch")
    branch = ref.removeprefix("refs/heads/")
    if not _BRANCH.fullmatch(branch) or _NOT_A_BRANCH.search(branch):
        raise Malformed("ref: not a branch's name that Poise takes")
    if after in _ENDED or said.get("deleted") is True:
        raise Ignored("the branch was deleted")
    if not _SHA.fullmatch(after):
        raise Malformed("after: not a commit's full name")
    head = _head(said, after)
    return Pushed(
        branch=branch,
        commit=after,
        by=f"{forge.value}:{_pusher(forge, said)}",
        author=_clean(_maybe(_maybe(head, "author"), "name"), NAME_CHARS) or "unknown",
        message=_clean(head.get("message"), 4000, lines=True),
        committed_at=_instant(head.get("timestamp")),
        forced=said.get("forced") is True,
    )


def read_labels(forge: Forge, body: bytes) -> Labelled:
    """What a forge tells of a pull request. Raises ``Malformed``; ``Ignored`` for one given up.

    Source: docs.github.com, "Webhook events and payloads", pull_request, whose shape Gitea and Forgejo keep
    (modules/structs/hook.go); docs.gitlab.com, "Webhook events", merge request events.
    """
    said = _object(body)
    return _merge_request(said) if forge is Forge.GITLAB else _pull_request(said)


def _pull_request(said: dict[str, Any]) -> Labelled:
    """``merge_commit_sha`` is what it was merged as (merged, squashed, or the last commit of a rebase) once
    ``merged`` is true, and before that a commit of GitHub's own, which is on no branch.
    """
    pull = said.get("pull_request")
    merged = _maybe(pull, "merged") is True
    if said.get("action") == "closed" and isinstance(pull, dict) and not merged:
        raise Ignored("the pull request was closed without being merged")
    shas = [_maybe(_maybe(pull, "head"), "sha"), *([_maybe(pull, "merge_commit_sha")] if merged else [])]
    base = _maybe(_maybe(pull, "base"), "ref")
    return _labelled("pull_request", _maybe(pull, "number"), base, shas, _maybe(pull, "labels"), "name")


def _merge_request(said: dict[str, Any]) -> Labelled:
    """GitLab's. Merged without a merge commit (fast-forward) it is its last commit, or the squashed one."""
    about = said.get("object_attributes")
    state = _maybe(about, "state")
    if state == "closed":
        raise Ignored("the merge request was closed without being merged")
    made = (_maybe(about, name) for name in ("squash_commit_sha", "merge_commit_sha"))
    shas = [
        _maybe(_maybe(about, "last_commit"), "id"),
        *(sha for sha in made if state == "merged" and sha is not None),
    ]
    number, base = _maybe(about, "iid"), _maybe(about, "target_branch")
    return _labelled("object_attributes", number, base, shas, said.get("labels"), "title")


def _labelled(where: str, number: Any, base: Any, shas: list[Any], given: Any, called: str) -> Labelled:
    if not isinstance(number, int) or isinstance(number, bool):
        raise Malformed(f"{where}: its number is not there, or no number")
    if not all(isinstance(sha, str) and _SHA.fullmatch(sha) for sha in shas):
        raise Malformed(f"{where}: its head or what it was merged as is not a commit's full name")
    if not isinstance(given, list) or not all(isinstance(_maybe(one, called), str) for one in given):
        raise Malformed(f"{where}: its labels are not a list of labels")
    names = (_clean(_maybe(one, called), NAME_CHARS) for one in given[:LABELS_MAX])
    return Labelled(
        number=number,
        base=_clean(base, 200),
        commits=tuple(dict.fromkeys(shas)),
        labels=tuple(dict.fromkeys(name for name in names if name)),
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the body is not a JSON object: {str(error)[:200]}") from error


def _head(said: dict[str, Any], after: str) -> dict[str, Any]:
    """What is told of the new head; of a long list only the commit that counts is looked at."""
    told = said.get("head_commit")
    if isinstance(told, dict) and told.get("id") == after:
        return told
    commits = said.get("commits")
    if not isinstance(commits, list):
        raise Malformed("commits: not a list")
    found = (one for one in reversed(commits) if isinstance(one, dict) and one.get("id") == after)
    return next(found, {})


def _pusher(forge: Forge, said: dict[str, Any]) -> str:
    places: dict[Forge, tuple[Any, ...]] = {
        Forge.GITHUB: (_maybe(_maybe(said, "sender"), "login"), _maybe(_maybe(said, "pusher"), "name")),
        Forge.GITLAB: (said.get("user_username"), said.get("user_name")),
    }
    gitea = (_maybe(_maybe(said, "pusher"), "login"), _maybe(_maybe(said, "sender"), "login"))
    for found in places.get(forge, gitea):
        if name := _clean(found, NAME_CHARS):
            return name
    raise Malformed("nobody is named as who pushed")


def _gitlab(secret: str, headers: Headers, body: bytes, now: datetime) -> bool:
    """The signed form where one is sent, else the plain token."""
    if "webhook-signature" in headers:
        return _standard(secret, headers, body, now)
    told = _one(headers, "x-gitlab-token")
    return _same(told, secret)


def _standard(secret: str, headers: Headers, body: bytes, now: datetime) -> bool:
    """Standard Webhooks: HMAC over id, time and body; any of several signatures may fit."""
    name, stamp = _one(headers, "webhook-id"), _one(headers, "webhook-timestamp")
    told = _one(headers, "webhook-signature")
    if not (name and _STAMP.fullmatch(stamp) and _SIGNATURES.fullmatch(told)):
        return False
    fresh = abs(now - datetime.fromtimestamp(int(stamp), UTC)) <= TOLERANCE
    wanted = standard_signature(secret, name, stamp, body)
    fits = [_same(one, wanted) for one in told.split(" ")]
    return fresh and bool(wanted) and any(fits)


def standard_signature(secret: str, name: str, stamp: str, body: bytes) -> str:
    """``v1,<base64>`` of a message under a ``whsec_`` secret; empty when the secret is no such one."""
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (BadBase64, ValueError):
        return ""
    mac = hmac.new(key, f"{name}.{stamp}.".encode("utf-8", "surrogateescape") + body, sha256)
    return f"v1,{b64encode(mac.digest()).decode()}"


def _same_mac(secret: str, body: bytes, told: str) -> bool:
    wanted = hmac.new(secret.encode(), body, sha256).hexdigest()
    return bool(_HEX.fullmatch(told)) & _same(told, wanted)


def _same(told: str, wanted: str) -> bool:
    return hmac.compare_digest(
        told.encode("utf-8", "surrogateescape"), wanted.encode("utf-8", "surrogateescape")
    )


def _one(headers: Headers, name: str) -> str:
    found = headers.get(name, ())
    return found[0] if len(found) == 1 else ""


def _of(forge: Forge, headers: Headers, what: str) -> str:
    """Gitea's header; Forgejo's own, else the one that it keeps sending for Gitea's sake."""
    if forge is Forge.FORGEJO and f"x-forgejo-{what}" in headers:
        return _one(headers, f"x-forgejo-{what}")
    return _one(headers, f"x-gitea-{what}")


def _digest(kind: bytes, content: bytes) -> str:
    return sha256(kind + b"\0" + content).hexdigest()[:32]


def _text(said: dict[str, Any], name: str) -> str:
    found = said.get(name)
    if not isinstance(found, str) or not found:
        raise Malformed(f"{name}: not there, or not text")
    return found


def _maybe(said: Any, name: str) -> Any:
    return said.get(name) if isinstance(said, dict) else None


def _clean(found: Any, most: int, *, lines: bool = False) -> str:
    """Text that others gave, bounded and free of control signs."""
    if not isinstance(found, str):
        return ""
    kept: Callable[[str], bool] = lambda sign: sign.isprintable() or (lines and sign == "\n")  # noqa: E731
    return "".join(sign for sign in found[:most] if kept(sign)).strip()


def _instant(found: Any) -> datetime | None:
    """An instant in UTC; None when it is not one, or names no zone."""
    if not isinstance(found, str):
        return None
    try:
        at = datetime.fromisoformat(found)
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None
