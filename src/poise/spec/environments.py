"""Environments in order: where each service runs, and which environment a release passes first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from poise.spec.checks import circle, items_of
from poise.spec.document import Mapping, Node
from poise.spec.problems import CONTRADICTION, DECLARED_TWICE, UNKNOWN_NAME, Report, nearest, shown
from poise.spec.read import Document, Found, ServiceDocument

DEFAULT_ENVIRONMENT: Final = "production"


class Order(Struct, frozen=True):
    """The environments of a file, first to last; ``declared`` when the project itself names them."""

    names: tuple[str, ...]
    declared: bool = False


def default_hostname(service: str, environment: str, is_last: bool) -> str:
    """Where a service is reached unless it says so itself: the last environment has the short name.

    >>> default_hostname("shop", "production", True), default_hostname("shop", "staging", False)
    ('shop.localhost', 'shop.staging.localhost')
    """
    return f"{service}.localhost" if is_last else f"{service}.{environment}.localhost"


def environments_of(projects: Sequence[Document], services: Sequence[Document], report: Report) -> Order:
    """The order that the project names, else the one on which all services agree.

    A service may leave one out. What contradicts the order, or leaves it open, goes to the report.
    """
    ways = [_way(document, report) for document in services]
    for document in projects:
        names = document.spec.values.get("environments")
        if isinstance(names, list):
            order = tuple(str(name) for name in names)
            for way in ways:
                _check_way(way, order, report)
            return Order(order, declared=True)
    order = ()
    edges: dict[str, tuple[str, ...]] = {}
    for way in ways:
        merged = _merged(edges, [name for name, _ in way])
        wrong = circle(merged)
        if wrong:
            name, place = next((name, place) for name, place in way if name in wrong)
            what = f"{shown(name)} stands elsewhere in the order of another service"
            mend = "Let all services have the order of a release's way."
            report.add(CONTRADICTION, place, what, why=f"That order is {', '.join(order)}.", mend=mend)
            continue
        edges = merged
        order = _sorted(edges)
    _check_told(edges, order, ways, report)
    return Order(order or (DEFAULT_ENVIRONMENT,))


def placed(document: Document, order: Order) -> list[ServiceDocument]:
    """A service once per environment, each with its overrides laid over."""
    environments = document.spec.values.get("environments")
    found = [one for one in environments if isinstance(one, Found)] if isinstance(environments, list) else []
    base = {key: value for key, value in document.spec.values.items() if key != "environments"}
    if not found:
        names = order.names if order.declared else (DEFAULT_ENVIRONMENT,)
        nodes = (document.spec.node,)
        return [
            ServiceDocument(document.name, document.place, name, base, nodes, _host(document, name, order))
            for name in names
        ]
    return [_overridden(document, base, one, order) for one in found]


def _overridden(document: Document, base: dict[str, object], one: Found, order: Order) -> ServiceDocument:
    name = one.text("name") or DEFAULT_ENVIRONMENT
    over = one.values.get("overrides")
    node = one.node.get("overrides")
    nodes = (*([node] if isinstance(node, Mapping) else []), document.spec.node)
    values = _laid_over(base, over if isinstance(over, dict) else {})
    return ServiceDocument(document.name, one.at("name"), name, values, nodes, _host(document, name, order))


def _host(document: Document, environment: str, order: Order) -> str:
    return default_hostname(document.name, environment, environment == order.names[-1])


def _laid_over(base: dict[str, object], over: dict[str, object]) -> dict[str, object]:
    """``base`` with ``over`` upon it: mappings key by key, anything else as a whole."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        result[key] = _laid_over(below, value) if both else value  # type: ignore[arg-type]
    return result


# -- the order ----------------------------------------------------------------------------------------


Way = list[tuple[str, Node]]


def _way(document: Document, report: Report) -> Way:
    """The environments that a service names itself, with their places; each once."""
    environments = document.spec.values.get("environments")
    way: Way = []
    for one in environments if isinstance(environments, list) else ():
        name = one.text("name") if isinstance(one, Found) else None
        if name is None:
            continue
        place = one.at("name")
        if any(name == known for known, _ in way):
            report.add(DECLARED_TWICE, place, f"environment {shown(name)} is named twice", mend="Keep one.")
            continue
        way.append((name, place))
    is_silent = not items_of(document.spec.node.get("environments"))
    return [(DEFAULT_ENVIRONMENT, document.place)] if is_silent and document.clean else way


def _check_way(way: Way, order: tuple[str, ...], report: Report) -> None:
    """Every name is one of the project's, and they are in its order."""
    last = -1
    for name, place in way:
        if name not in order:
            what = f"environment {shown(name)} is not one of the project's"
            report.add(UNKNOWN_NAME, place, what, mend=nearest(name, order))
        elif order.index(name) < last:
            what = f"environment {shown(name)} comes before {shown(order[last])} in the project"
            report.add(CONTRADICTION, place, what, mend=f"Write them in the order {', '.join(order)}.")
        else:
            last = order.index(name)


def _merged(edges: dict[str, tuple[str, ...]], names: list[str]) -> dict[str, tuple[str, ...]]:
    """``edges`` (from each environment to those right after it) with one more service's way in it."""
    merged = dict(edges)
    for i in range(len(names)):
        merged[names[i]] = tuple(dict.fromkeys((*merged.get(names[i], ()), *names[i + 1 : i + 2])))
    return merged


def _sorted(edges: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Every environment after those that lead to it; what is open stays in the order of the file."""
    left, order = dict(edges), list[str]()
    while left:
        ahead = {after for afters in left.values() for after in afters}
        name = next(name for name in left if name not in ahead)
        order.append(name)
        del left[name]
    return tuple(order)


def _check_told(
    edges: dict[str, tuple[str, ...]], order: tuple[str, ...], ways: Iterable[Way], report: Report
) -> None:
    """One environment right after the other, else nobody has said which comes first."""
    for i in range(len(order) - 1):
        before, after = order[i], order[i + 1]
        if after in edges[before]:
            continue
        places = [place for way in ways for name, place in way if name == after]
        what = f"which of the environments {shown(before)} and {shown(after)} comes first cannot be told"
        mend = "Say it in a document of kind Project: 'spec: {environments: [staging, production]}'."
        report.add(CONTRADICTION, places[0], what, mend=mend.replace("staging, production", ", ".join(order)))
