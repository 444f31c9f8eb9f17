"""A process that evaluates rules is killed while an alert is pending; the next one goes on with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from poise.model.rules import RuleAlert, RuleAlertState

FOR_S = 5.0
SCRIPT = """
import sys
from pathlib import Path

import anyio
import msgspec

from poise.adapters.blocks import BlockStore
from poise.adapters.clock import SystemClock
from poise.adapters.sqlite.store import SqliteStore
from poise.adapters.worker.asking import AskedRules
from poise.adapters.worker.pool import QueryWorker
from poise.engine.ruler import Ruler
from poise.model.record import Write
from poise.model.rules import Rule, RuleFile, RuleGroup
from poise.ports.store import Transaction

folder, for_s = Path(sys.argv[1]), float(sys.argv[2])


async def main():
    store, metrics, clock = SqliteStore(folder / "poise.db"), BlockStore(folder / "metrics.db"), SystemClock()
    rule = Rule(alert="Always", expr="vector(1)", for_s=for_s)
    file = RuleFile(project="shop", path="r.yml", groups=(RuleGroup(name="g", interval_s=1, rules=(rule,)),))
    await store.commit(Transaction(at=clock.now(), writes=[Write(kind="RuleFile", key=file.key, body=file)]))
    worker = QueryWorker(folder / "metrics.db", workers=1)
    ruler = Ruler(store, metrics, AskedRules(worker), clock, lambda: lease)
    lease = (await store.acquire("leader", "test", clock.now(), 600)).token
    async with anyio.create_task_group() as group:
        group.start_soon(ruler.run)
        told = None
        while True:
            standings = ruler.standings()
            alerts = standings[0].rules[0].memory.alerts if standings else ()
            if alerts and standings[0].evaluated_at not in (None, told):
                told = standings[0].evaluated_at
                print(msgspec.json.encode(alerts[0]).decode(), flush=True)
            await clock.sleep(0.05)


anyio.run(main)
"""


@contextmanager
def ruler(folder: Path) -> Iterator[Iterator[RuleAlert]]:
    """The process; what it tells of the alert after each evaluation. It ends by SIGKILL."""
    command = [sys.executable, "-c", SCRIPT, str(folder), str(FOR_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout
        try:
            yield (msgspec.json.decode(line, type=RuleAlert) for line in lines)
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_a_pending_alert_outlives_a_kill(tmp_path: Path) -> None:
    """It neither begins anew nor counts the time that nobody looked."""
    with ruler(tmp_path) as told:
        first = next(told)
        held = next(one for one in told if one.active_at == first.active_at)
        assert held.state is RuleAlertState.PENDING
    again_at = datetime.now(UTC)
    with ruler(tmp_path) as told:
        after = next(told)
        assert after.state is RuleAlertState.PENDING
        assert first.active_at <= after.active_at < again_at
        fired = next(one for one in told if one.state is RuleAlertState.FIRING)
    assert fired.active_at == after.active_at
    assert fired.fired_at is not None
    assert (fired.fired_at - after.active_at).total_seconds() >= FOR_S
