"""Asks both sides of a silent rollout itself: one GET to each in the same round, and counts the answers.

What it counts lives in memory under an epoch of its own: what a rollout took in is in its trial, and a new
process begins a new epoch at zero.
"""

from __future__ import annotations

import secrets
from typing import Final, Protocol

import anyio
from msgspec import Struct

from poise.delivery.rollout.sequential import Total
from poise.delivery.rollout.silence import PROBES
from poise.model.service import Protocol as Spoken
from poise.ports.probe import Probe, ProbeResult

ROUND_S: Final = 1.0  # between two rounds of a rollout: one GET a second to each side at most
TIMEOUT_S: Final = 5.0


class Sides(Struct, frozen=True, kw_only=True):
    """Whom to ask: the ports of ready replicas of both rollouts, and for what."""

    canary: int
    baseline: int
    canary_ports: tuple[int, ...]
    baseline_ports: tuple[int, ...]
    path: str
    spoken: Spoken = Spoken.HTTP


class Probing(Protocol):
    """What the rollout room's controller needs of whoever probes."""

    def watch(self, key: str, sides: Sides | None) -> None:
        """Probe exactly these of a service from now on; None: leave it in peace."""
        ...

    def totals(self, key: str) -> tuple[Total, ...]:
        """What was answered so far, both sides; empty while it is not watched."""
        ...


class _Pair:
    """One pair of rollouts as it is probed; a round counts once both sides had their time to answer."""

    def __init__(self, sides: Sides) -> None:
        self.sides, self.epoch = sides, secrets.token_hex(4)
        self.turn = self.rounds = self.canary_bad = self.baseline_bad = 0
        self.is_asked = False

    def hear(self, *, canary: ProbeResult, baseline: ProbeResult) -> None:
        """A round that both failed compares nothing, so it is none (as in McNemar's test)."""
        bad = canary is not ProbeResult.OK, baseline is not ProbeResult.OK
        if not all(bad):
            self.rounds, self.canary_bad = self.rounds + 1, self.canary_bad + bad[0]
            self.baseline_bad += bad[1]


class Prober:
    """``Probing`` over the Probe port; ``run`` until cancelled."""

    def __init__(self, probe: Probe, round_s: float = ROUND_S) -> None:
        self._probe, self._round_s = probe, round_s
        self._pairs: dict[str, _Pair] = {}

    def watch(self, key: str, sides: Sides | None) -> None:
        """See ``Probing``. Another pair of rollouts, or another path, begins at zero."""
        known = self._pairs.get(key)
        if sides is None:
            self._pairs.pop(key, None)
        elif known is None or _what(known.sides) != _what(sides):
            self._pairs[key] = _Pair(sides)
        else:
            known.sides = sides

    def totals(self, key: str) -> tuple[Total, ...]:
        """See ``Probing``."""
        pair = self._pairs.get(key)
        if pair is None:
            return ()
        return tuple(
            Total(rollout=n, epoch=pair.epoch, trials=pair.rounds, failures=bad, metric=PROBES)
            for n, bad in ((pair.sides.canary, pair.canary_bad), (pair.sides.baseline, pair.baseline_bad))
        )

    async def run(self) -> None:
        """A round of every pair on each beat; one that takes longer misses beats, it does not pile up."""
        async with anyio.create_task_group() as group:
            while True:
                for pair in list(self._pairs.values()):
                    if not pair.is_asked:
                        pair.is_asked = True
                        group.start_soon(self._round, pair)
                await anyio.sleep(self._round_s)

    async def _round(self, pair: _Pair) -> None:
        sides, answers = pair.sides, dict[str, ProbeResult]()
        pair.turn += 1

        async def ask(side: str, ports: tuple[int, ...]) -> None:
            port = ports[pair.turn % len(ports)]
            answers[side] = await self._probe.ask(port, sides.path, TIMEOUT_S, sides.spoken)

        try:
            if sides.canary_ports and sides.baseline_ports:
                async with anyio.create_task_group() as both:
                    both.start_soon(ask, "canary", sides.canary_ports)
                    both.start_soon(ask, "baseline", sides.baseline_ports)
                pair.hear(canary=answers["canary"], baseline=answers["baseline"])
        finally:
            pair.is_asked = False


def _what(sides: Sides) -> tuple[int, int, str]:
    return sides.canary, sides.baseline, sides.path
