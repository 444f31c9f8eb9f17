"""Config and secrets of a service: versions that only grow. Setting a value is a change and is rolled out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

from litestar import Request, Response, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, JSONBody, PathParameter
from msgspec import Struct
from msgspec.structs import replace

from poise.adapters.masking import MASKED_FROM
from poise.api import setting_rules as rules
from poise.api.idempotency import create_once
from poise.api.params import Cursor, Limit, Number, Part
from poise.api.parts import Parts
from poise.api.queries import service_or_raise
from poise.api.read import parts_of
from poise.api.setting_views import (
    Changed,
    ChangeSettings,
    RestoreSettings,
    Setting,
    SettingChange,
    Settings,
    SettingVersion,
)
from poise.api.views import Page
from poise.delivery.rollout.facts import is_rejected
from poise.delivery.rollout.settings import standing
from poise.model import event_types
from poise.model.config import Config, Secret
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.errors import Invalid, NotFound
from poise.model.record import Decision, Event, Read, Write
from poise.ports.store import Stale, Transaction

_SERVICE: Final = "/api/v1/projects/{project:str}/environments/{environment:str}/services/{service:str}"
_SHOWN_MAX: Final = 200  # characters of a value in the journal
_TRIED: Final = 50  # newest versions and rollouts among which a rejected one is known
_LOOKED_BACK: Final = 1000  # versions in which the last change of a name is looked for
Asked = Request[Any, Any, Any]
IfMatch = Annotated[str, HeaderParameter(name="If-Match", required=False, max_length=80)]
Other = Annotated[int, PathParameter(ge=0, le=999_999)]
Version = Config | Secret


class _Base(Struct, frozen=True):
    """What the next version is made from: ``stands`` (None: no values), and the number of the newest.

    ``earlier`` are the versions below the one that stands that were not rejected, ascending.
    """

    n: int
    stands: Version | None
    earlier: tuple[int, ...]
    other_names: tuple[str, ...]
    reads: tuple[Read, ...]


class _Kind:
    """What differs between config and secrets."""

    def __init__(self, body: type[Config] | type[Secret]) -> None:
        self.body = body
        self.name = body.__name__.lower()
        self.is_secret = body is Secret
        self.other = "config" if self.is_secret else "secret"
        self.event = event_types.SECRET_CHANGED if self.is_secret else event_types.CONFIG_CHANGED

    async def base(self, parts: Parts, key: str) -> _Base:
        """What the next version is made from."""
        found, ref = await parts.store.scan(self.body, f"{key}/", limit=_TRIED, last=True)
        other: type[Config] | type[Secret] = Config if self.is_secret else Secret
        others, other_ref = await parts.store.scan(other, f"{key}/", limit=1, last=True)
        names = tuple(_compared(others[-1])) if others else ()
        rollouts, _ = await parts.store.scan(Rollout, f"{key}/", limit=_TRIED, last=True)
        n = standing(rollouts, self.name, [one.n for one in found])
        good = (one.n for one in found if one.n < n and not is_rejected(rollouts, self.name, one.n))
        newest = found[-1].n if found else 0
        return _Base(newest, await self.at(parts, key, n), tuple(good), names, (ref, other_ref))

    async def at(self, parts: Parts, key: str, n: int) -> Version | None:
        """One version; None for version 0, ``NotFound`` for one that never was."""
        if n == 0:
            return None
        found, _ = await parts.store.get(self.body, f"{key}/{n:06d}")
        if found is None:
            mend = f"poise {self.name} list {key.split('/')[2]}"
            raise NotFound("POISE-E404", f"no {self.name} {n} of {key}", mend=mend)
        return found

    def changes(self, before: Version | None, after: Version | None) -> tuple[SettingChange, ...]:
        """What became of each name that differs, by name."""
        old, new = _compared(before), _compared(after)
        return tuple(
            SettingChange(
                name=name,
                change="set" if name not in old else "changed" if name in new else "unset",
                before=None if self.is_secret else old.get(name),
                after=None if self.is_secret else new.get(name),
            )
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        )


CONFIG: Final = _Kind(Config)
SECRET: Final = _Kind(Secret)


def _n(version: Version | None) -> int:
    return version.n if version else 0


def _compared(version: Version | None) -> Mapping[str, str]:
    """What tells two versions apart: a config's values, a secret's marks."""
    if version is None:
        return {}
    return version.values if isinstance(version, Config) else version.marks


async def settings_of(
    parts: Parts, kind: _Kind, key: str, n: int | None, cursor: str, limit: int
) -> Settings:
    """The settings at version ``n`` (None: the newest) with a page of versions."""
    await service_or_raise(parts, key)
    lately, _ = await parts.store.scan(kind.body, f"{key}/", limit=_LOOKED_BACK, last=True)
    rollouts, _ = await parts.store.scan(Rollout, f"{key}/", limit=_TRIED, last=True)
    stands = standing(rollouts, kind.name, [one.n for one in lately])
    shown = await kind.at(parts, key, stands if n is None else n)
    live = next((one for one in reversed(rollouts) if one.state is RolloutState.LIVE), None)
    return Settings(
        service=key,
        n=shown.n if shown else 0,
        newest=lately[-1].n if lately else 0,
        live=(live.secret if kind.is_secret else live.config) if live else None,
        items=_items(shown, [one for one in lately if shown is not None and one.n <= shown.n]),
        versions=await _versions(parts, kind, key, rollouts, cursor, limit),
    )


def _items(shown: Version | None, until: Iterable[Version]) -> tuple[Setting, ...]:
    changed_in: dict[str, int] = {}
    before: Mapping[str, str] = {}
    for version in until:
        now = _compared(version)
        changed_in |= {name: version.n for name, value in now.items() if before.get(name) != value}
        before = now
    return tuple(
        Setting(
            name=name,
            value=value if isinstance(shown, Config) else None,
            changed_in=changed_in.get(name, 0),
        )
        for name, value in sorted(_compared(shown).items())
    )


async def _versions(
    parts: Parts, kind: _Kind, key: str, rollouts: Sequence[Rollout], cursor: str, limit: int
) -> Page[SettingVersion]:
    found, _ = await parts.store.scan(kind.body, f"{key}/", after=cursor, limit=limit + 1)
    before = await kind.at(parts, key, found[0].n - 1) if found else None
    rows = []
    for version in found[:limit]:
        changes = kind.changes(before, version)
        rows.append(
            SettingVersion(
                n=version.n,
                by=version.by,
                reason=version.reason,
                at=version.at,
                change_class=version.change_class,
                restores=version.restores,
                rejected=is_rejected(rollouts, kind.name, version.n),
                changed=tuple(one.name for one in changes if one.change != "unset"),
                unset=tuple(one.name for one in changes if one.change == "unset"),
            )
        )
        before = version
    return Page(items=rows, next=found[limit - 1].key if len(found) > limit else None)


def _next_config(parts: Parts, base: Config | None, ask: ChangeSettings) -> dict[str, str]:
    """The values of the next version; ``Invalid`` for one that holds a known secret."""
    for name, value in ask.set.items():
        if parts.masker.name(value) != value:
            raise Invalid(
                "POISE-E639",
                f"the value of {name} holds a value that is a secret",
                why="Config is shown to everybody who may look; a secret is shown to nobody.",
                mend=f"poise secret set SERVICE {name}",
            )
    return _merged(base.values if base else {}, ask.set, ask.unset)


def _merged(old: Mapping[str, str], new: Mapping[str, str], unset: Iterable[str]) -> dict[str, str]:
    gone = set(unset)
    return {name: value for name, value in sorted({**old, **new}.items()) if name not in gone}


def _check(kind: _Kind, base: _Base, key: str, ask: ChangeSettings) -> None:
    if ask.change_class is ChangeClass.ROLLBACK:
        mend = f"poise {kind.name} rollback {key.split('/')[2]}"
        raise Invalid("POISE-E640", "a rollback takes over an older version", where=key, mend=mend)
    if both := sorted(set(ask.set) & set(ask.unset)):
        raise Invalid(
            "POISE-E641", f"{both[0]} is to be set and unset", where=key, mend="Ask for one of both"
        )
    rules.check_names(ask.set)
    rules.check_values(ask.set)
    rules.check_unset(ask.unset, _compared(base.stands))
    rules.check_apart(ask.set, base.other_names, kind.other)
    if kind.is_secret:
        for name, value in ask.set.items():
            rules.check_secret(key, name, value)


async def _change(
    request: Asked, kind: _Kind, key: str, ask: ChangeSettings, if_match: str
) -> Response[Changed]:
    parts = parts_of(request)
    await service_or_raise(parts, key)
    base = await kind.base(parts, key)
    _require_match(if_match, base.n, request.url.path)
    _check(kind, base, key, ask)
    made = _made(parts, kind, base, key, request.scope["user"].name, ask)
    changes = kind.changes(base.stands, made)
    if not changes:
        said = f"Nothing to change: {key} has these values already ({kind.name} {_n(base.stands)})."
        return _answer(Changed(n=base.n, changes=(), sentence=said))
    decision, changed = _decided(kind, base, made, changes)
    more = _warnings(kind, ask, await CONFIG.base(parts, key) if kind.is_secret else None)
    await parts.store.commit(
        Transaction(at=made.at, reads=decision.reads, writes=decision.writes, events=decision.events)
    )
    return _answer(replace(changed, sentence=" ".join((changed.sentence, *more))))


def _made(parts: Parts, kind: _Kind, base: _Base, key: str, by: str, ask: ChangeSettings) -> Version:
    """The next version, within its limits."""
    how: dict[str, Any] = {
        "service": key, "n": base.n + 1, "by": by, "reason": ask.reason, "at": parts.clock.now(),
        "change_class": ask.change_class,
    }  # fmt: skip
    stands: Version | None = base.stands
    if kind.is_secret:
        old = stands if isinstance(stands, Secret) else None
        marks = {name: parts.sealer.mark(key, name, value) for name, value in ask.set.items()}
        sealed = _merged(old.sealed if old else {}, parts.sealer.seal(key, ask.set), ask.unset)
        rules.check_whole(sealed, kind.name)
        return Secret(sealed=sealed, marks=_merged(old.marks if old else {}, marks, ask.unset), **how)
    values = _next_config(parts, stands if isinstance(stands, Config) else None, ask)
    rules.check_whole(values, kind.name)
    return Config(values=values, **how)


def _decided(
    kind: _Kind, base: _Base, made: Version, changes: tuple[SettingChange, ...]
) -> tuple[Decision, Changed]:
    names = ", ".join(f"{'-' if one.change == 'unset' else ''}{one.name}" for one in changes)
    back = f" (as in {made.restores})" if made.restores is not None else ""
    told = [{"name": one.name, "change": one.change, **_shown(one)} for one in changes]
    event = Event(
        type=kind.event,
        subject=made.key,
        summary=f"{made.by} changed {names} in {kind.name} {made.n} of {made.service}{back}: {made.reason}",
        actor=made.by,
        data={
            "kind": kind.name, "version": made.n, "restores": made.restores, "reason": made.reason,
            "class": made.change_class.value, "changes": told,
        },
    )  # fmt: skip
    decision = Decision(
        reads=base.reads, writes=(Write(kind=kind.body.__name__, key=made.key, body=made),), events=(event,)
    )
    service, kinds = made.service.split("/")[2], kind.name.capitalize()
    said = (
        f"{kinds} {made.n} of {service} is a change like any other: it passes the gate and "
        f"is rolled out. Watch it: poise why {service}"
    )
    if base.n != _n(base.stands):
        said = f"{kinds} {base.n} was rejected: this one is made from {_n(base.stands)}. {said}"
    return decision, Changed(n=made.n, changes=changes, sentence=said)


def _warnings(kind: _Kind, ask: ChangeSettings, config: _Base | None) -> list[str]:
    if not kind.is_secret:
        return []
    short = [name for name, value in ask.set.items() if len(value) < MASKED_FROM]
    said = [f"{name} is under {MASKED_FROM} characters: it cannot be masked in logs." for name in short]
    plain = _compared(config.stands) if config else {}
    both = [name for name, value in plain.items() if value in ask.set.values()]
    return said + [f"The same value stands in the config {name}: unset it there." for name in both]


def _shown(change: SettingChange) -> dict[str, str]:
    """A config's values in the journal, cut; of a secret there are none to show."""
    values = {"before": change.before, "after": change.after}
    return {name: value[:_SHOWN_MAX] for name, value in values.items() if value is not None}


async def _restore(request: Asked, kind: _Kind, key: str, ask: RestoreSettings) -> Changed:
    parts = parts_of(request)
    await service_or_raise(parts, key)

    async def make() -> tuple[Decision, Changed]:
        base = await kind.base(parts, key)
        to = (base.earlier or (0,))[-1] if ask.to is None else ask.to
        source: Version | None = await kind.at(parts, key, to)
        how: dict[str, Any] = {
            "service": key, "n": base.n + 1, "by": request.scope["user"].name, "reason": ask.reason,
            "at": parts.clock.now(), "change_class": ChangeClass.ROLLBACK, "restores": to,
        }  # fmt: skip
        rules.check_apart(_compared(source), base.other_names, kind.other)
        made: Version
        if kind.is_secret:
            old = source if isinstance(source, Secret) else None
            if old is not None:
                parts.sealer.unseal(old)  # one that does not open must not be rolled out
            made = Secret(sealed=old.sealed if old else {}, marks=old.marks if old else {}, **how)
        else:
            made = Config(values=source.values if isinstance(source, Config) else {}, **how)
        changes = kind.changes(base.stands, made)
        if not changes:
            said = f"Nothing to change: {kind.name} {_n(base.stands)} of {key} has the values of {to}."
            return Decision(), Changed(n=base.n, changes=(), sentence=said)
        return _decided(kind, base, made, changes)

    return await create_once(request, parts, ask, Changed, make)


def _require_match(given: str, n: int, where: str) -> None:
    mend = "Read it first; send its ETag (the version's number in quotes) as If-Match."
    if not given.strip('"').isdigit():
        raise Invalid("POISE-E428", "an If-Match is needed", where=where, mend=mend)
    if int(given.strip('"')) != n:
        raise Stale("POISE-E412", f"it is at version {n} by now", where=where, mend="Read it again.")


def _answer(changed: Changed) -> Response[Changed]:
    return Response(changed, headers={"ETag": f'"{changed.n}"'})


def _routes(kind: _Kind) -> list[HTTPRouteHandler]:
    """The five routes of a kind."""
    path, name = f"{_SERVICE}/{kind.name}", kind.name

    async def newest(
        request: Asked, project: Part, environment: Part, service: Part,
        cursor: Cursor = "", limit: Limit = 100,
    ) -> Response[Settings]:  # fmt: skip
        key = f"{project}/{environment}/{service}"
        found = await settings_of(parts_of(request), kind, key, None, cursor, limit)
        return Response(found, headers={"ETag": f'"{found.newest}"'})

    async def one(
        request: Asked, project: Part, environment: Part, service: Part, n: Number,
        cursor: Cursor = "", limit: Limit = 100,
    ) -> Settings:  # fmt: skip
        key = f"{project}/{environment}/{service}"
        return await settings_of(parts_of(request), kind, key, n, cursor, limit)

    async def differences(
        request: Asked, project: Part, environment: Part, service: Part, n: Number, other: Other
    ) -> list[SettingChange]:
        key, parts = f"{project}/{environment}/{service}", parts_of(request)
        await service_or_raise(parts, key)
        return list(kind.changes(await kind.at(parts, key, n), await kind.at(parts, key, other)))

    async def change(
        request: Asked, project: Part, environment: Part, service: Part, data: JSONBody[ChangeSettings],
        if_match: IfMatch = "",
    ) -> Response[Changed]:  # fmt: skip
        return await _change(request, kind, f"{project}/{environment}/{service}", data, if_match)

    async def restore(
        request: Asked, project: Part, environment: Part, service: Part, data: JSONBody[RestoreSettings]
    ) -> Changed:
        return await _restore(request, kind, f"{project}/{environment}/{service}", data)

    for made, called, said in (
        (newest, f"get_{name}", f"The {name} that stands, with all versions; never a secret's values."),
        (one, f"get_{name}_version", f"One version of the {name}."),
        (differences, f"list_{name}_differences", "What changed from version ``n`` to ``other``, by name."),
        (change, f"set_{name}", "A new version; ``If-Match`` is the number of the one that was read."),
        (restore, f"restore_{name}", "A new version with the values of an older one: a rollback."),
    ):
        made.__name__, made.__doc__ = called, said
    view, act = {"permission": "viewer"}, {"permission": "operator"}
    return [
        get(path, opt=view)(newest),
        get(path + "/{n:int}", opt=view)(one),
        get(path + "/{n:int}/differences/{other:int}", opt=view)(differences),
        put(path, opt=act)(change),
        post(path + "/rollback", opt={**act, "once": True})(restore),
    ]


ROUTES = [*_routes(CONFIG), *_routes(SECRET)]
