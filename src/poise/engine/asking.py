"""Many selectors of counters in few questions: which are asked together, and whose each series is.

Selectors of one metric are asked as one: matchers that all of them have stay, equal labels become a choice
(``service=~"a|b"``), all others are told apart here. So a thousand objectives cost a question or two, each
over a short range, so that every value comes with its own instant.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

import anyio
import anyio.to_thread
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from poise.model.errors import Invalid, PoiseError, TooLarge, told
from poise.model.samples import EMPTY, NAME, STALE_BITS, Frame, Labels, Limits
from poise.ports.signals import SignalStore
from poise.spec.counter import NotCounted, Selector, counter

AT_ONCE: Final = 4  # questions that are asked at the same time
LIMITS: Final = Limits(samples=2_000_000, series=100_000, points=2000, seconds=10.0)
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


class Samples(Struct, frozen=True, eq=False, kw_only=True):
    """Samples of an answer's series: ``row`` is the series of each; ascending by it and by instant."""

    series: tuple[Labels, ...]
    row: NDArray[np.intp]
    at_s: NDArray[np.float64]
    values: NDArray[np.float64]

    def newest(self) -> Samples:
        """Each series' newest finite one."""
        usable = np.flatnonzero(np.isfinite(self.values))
        row = self.row[usable]
        last = usable[np.concatenate([row[1:] != row[:-1], [True]])[: len(row)]]
        return Samples(series=self.series, row=self.row[last], at_s=self.at_s[last], values=self.values[last])


def samples(frame: Frame, now: datetime) -> Samples:
    """Those of an answer that are no stale markers and not from the future."""
    block = frame.ragged or EMPTY
    lengths, at_ms, values = block.samples()
    row = np.repeat(np.arange(len(lengths)), lengths)
    some = (at_ms <= now.timestamp() * 1000) & (values.view(np.uint64) != STALE_BITS)
    return Samples(series=block.series, row=row[some], at_s=at_ms[some] / 1000.0, values=values[some])


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
    """Tells whose a series is; remembers what it has seen. Raises ``ValueError`` for a broken regex."""

    def __init__(self, question: Question, regex: Regex) -> None:
        self.question = question
        self._known: dict[Labels, tuple[str, ...]] = {}
        self._tests: dict[tuple[str, str, str], Matches] = {}
        if len(question.texts) > 1:
            rest = {pair for some in question.asked.values() for one in some for pair in self._rest(one)}
            self._tests = {matcher: _tested(matcher, regex) for matcher in rest}

    def selectors(self, labels: Labels) -> tuple[str, ...]:
        """The texts of the question's selectors that a series is of."""
        known = self._known.get(labels)
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known[labels] = self._sorted(dict(labels))
        return known

    def _sorted(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        question = self.question
        if not question.by and len(question.texts) == 1:
            return question.texts
        mine = question.asked.get(tuple(labels.get(name, "") for name in question.by), ())
        return tuple(one.text for one in mine if self._is_of(labels, one))

    def _is_of(self, labels: Mapping[str, str], selector: Selector) -> bool:
        return all(self._tests[one](labels.get(one[0], "")) for one in self._rest(selector))

    def _rest(self, selector: Selector) -> list[tuple[str, str, str]]:
        return [matcher for matcher in selector.matchers if matcher[0] not in self.question.by]


class Asked:
    """The selectors of one source's objectives, in as few questions as answer them.

    Selectors that together are too much, or of which one is wrong, are asked alone from then on.
    """

    def __init__(self, texts: Iterable[str], regex: Regex) -> None:
        self._regex = regex
        self.sortings = [made for one in questions(texts) for made in _sortings(one, regex)]

    async def answers(
        self, signals: SignalStore, now: datetime, back_s: Callable[[Question], float]
    ) -> tuple[list[tuple[Sorting, Samples]], dict[str, str]]:
        """Every sample of the last ``back_s`` by question, in the order asked; by selector what is wrong."""
        found: dict[Sorting, Samples] = {}
        faults: dict[str, str] = {}
        limiter = anyio.CapacityLimiter(AT_ONCE)

        async def ask(one: Sorting) -> None:
            question = one.question
            try:
                async with limiter:
                    text = f"{question.text}[{round(back_s(question) * 1000)}ms]"
                    frame = await signals.query(text, round(now.timestamp() * 1000), LIMITS)
                    found[one] = await anyio.to_thread.run_sync(samples, frame, now)
            except (Invalid, TooLarge, ValueError) as error:
                if len(question.texts) > 1:
                    await ask_all(self._split(one))
                else:
                    faults[question.texts[0]] = told(error)
            except (PoiseError, OSError) as error:
                faults.update(dict.fromkeys(question.texts, told(error)))

        async def ask_all(some: Sequence[Sorting]) -> None:
            async with anyio.create_task_group() as group:
                for one in some:
                    group.start_soon(ask, one)

        await ask_all(list(self.sortings))
        return [(one, found[one]) for one in self.sortings if one in found], faults

    def _split(self, one: Sorting) -> list[Sorting]:
        made = [Sorting(single, self._regex) for single in alone(one.question)]
        place = self.sortings.index(one)
        self.sortings[place : place + 1] = made
        return made


@lru_cache(maxsize=20_000)
def plain(text: str) -> str | None:
    """An expression that is a plain selector, whose samples can be read one by one."""
    try:
        return text if counter(text).text == text else None
    except NotCounted:
        return None


def _sortings(question: Question, regex: Regex) -> list[Sorting]:
    """Selectors with a broken regex are asked alone, so that the store says what is wrong with it."""
    try:
        return [Sorting(question, regex)]
    except ValueError:
        return [Sorting(one, regex) for one in alone(question)]


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
