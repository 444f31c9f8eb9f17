"""Many selectors of counters in few questions: which are asked together, and whose each series is.

Selectors of one metric are asked as one: matchers that all of them have stay, equal labels become a choice
(``service=~"a|b"``), all others are told apart here. So a thousand objectives cost a question or two.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from poise.model.samples import NAME, Labels
from poise.spec.counter import Selector, counter

TOGETHER_MAX: Final = 1000  # values of one choice; a longer one is asked in parts
KNOWN_MAX: Final = 200_000  # series whose selectors are remembered

Matches = Callable[[str], bool]
Regex = Callable[[str], Matches]  # of an anchored expression; may raise ValueError


class Question(Struct, frozen=True, eq=False, kw_only=True):
    """One selector to ask for, and the selectors (texts) that it answers.

    ``by`` are the labels whose values tell the selectors apart, ``asked`` the selectors by these values;
    with ``by`` empty the answer is the one selector's.
    """

    text: str
    by: tuple[str, ...]
    asked: Mapping[tuple[str, ...], tuple[Selector, ...]]

    @property
    def texts(self) -> tuple[str, ...]:
        """Every selector that it answers."""
        return tuple(one.text for some in self.asked.values() for one in some)


def questions(texts: Iterable[str]) -> list[Question]:
    """As few as answer all of them; equal texts are asked once."""
    found: dict[tuple[str, tuple[str, ...]], list[Selector]] = defaultdict(list)
    for text in sorted(set(texts)):
        one = counter(text)
        found[(one.metric, _equal_labels(one)) if _is_plain(one) else (text, ())].append(one)
    return [made for (_, by), some in found.items() for made in _together(some, by)]


def alone(question: Question) -> list[Question]:
    """Each of its selectors as a question of its own."""
    return [
        Question(text=one.text, by=(), asked={(): (one,)}) for some in question.asked.values() for one in some
    ]


class Sorting:
    """Tells whose a series is; remembers what it has seen."""

    def __init__(self, question: Question, regex: Regex) -> None:
        self._question = question
        self._regex = regex
        self._known: dict[Labels, tuple[str, ...]] = {}
        self._tests: dict[tuple[str, str, str], Matches] = {}

    def selectors(self, labels: Labels) -> tuple[str, ...]:
        """The texts of the question's selectors that a series is of."""
        known = self._known.get(labels)
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known[labels] = self._sorted(dict(labels))
        return known

    def _sorted(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        if len(self._question.texts) == 1:
            return self._question.texts
        mine = self._question.asked.get(tuple(labels.get(name, "") for name in self._question.by), ())
        return tuple(one.text for one in mine if self._is_of(labels, one))

    def _is_of(self, labels: Mapping[str, str], selector: Selector) -> bool:
        rest = (matcher for matcher in selector.matchers if matcher[0] not in self._question.by)
        return all(self._test(matcher)(labels.get(matcher[0], "")) for matcher in rest)

    def _test(self, matcher: tuple[str, str, str]) -> Matches:
        test = self._tests.get(matcher)
        if test is None:
            test = self._tests[matcher] = _tested(matcher, self._regex)
        return test


def _is_plain(selector: Selector) -> bool:
    """Whether its values are what stands between the quotes, whichever quotes these are."""
    values = (value for _, _, value in selector.matchers)
    return bool(selector.metric) and not any(set(value) & set('\\"`\n') for value in values)


def _tested(matcher: tuple[str, str, str], regex: Regex) -> Matches:
    _, operator, value = matcher
    match operator:
        case "=":
            return lambda found: found == value
        case "!=":
            return lambda found: found != value
        case "=~":
            return regex(value)
        case _:
            matches = regex(value)
            return lambda found: not matches(found)


def _equal_labels(selector: Selector) -> tuple[str, ...]:
    """The labels that are compared with one value, and by nothing else."""
    counts: dict[str, int] = defaultdict(int)
    for label, _, _ in selector.matchers:
        counts[label] += 1
    equal = {label for label, operator, value in selector.matchers if operator == "=" and value}
    return tuple(sorted(label for label in equal if counts[label] == 1 and label != NAME))


def _together(some: Sequence[Selector], by: tuple[str, ...]) -> Iterable[Question]:
    """Selectors of one metric that compare the same labels with one value each."""
    if len(some) == 1:
        yield Question(text=some[0].text, by=(), asked={(): (some[0],)})
        return
    by_values: dict[tuple[str, ...], list[Selector]] = defaultdict(list)
    for one in some:
        values = {label: value for label, operator, value in one.matchers if operator == "="}
        by_values[tuple(values[label] for label in by)].append(one)
    keys = sorted(by_values)
    for first in range(0, len(keys), TOGETHER_MAX):
        part = {key: tuple(by_values[key]) for key in keys[first : first + TOGETHER_MAX]}
        yield Question(text=_asked(some[0].metric, by, part), by=by, asked=part)


def _asked(metric: str, by: tuple[str, ...], part: Mapping[tuple[str, ...], tuple[Selector, ...]]) -> str:
    """``metric{service=~"a|b",code!="404"}``: wide enough for all, and hardly wider."""
    shared = frozenset.intersection(*(one.matchers for some in part.values() for one in some))
    made = [f'{label}{operator}"{value}"' for label, operator, value in sorted(shared)]
    for place, label in enumerate(by):
        values = sorted({key[place] for key in part})
        if len(values) > 1:
            made.append(f'{label}=~"{_escaped("|".join(map(_literal, values)))}"')
    return f"{metric}{{{','.join(made)}}}"


def _literal(value: str) -> str:
    """The value as a regular expression (RE2) that matches it alone."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\")
