"""The whole loop, played as a user plays it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PLAY = [sys.executable, "-m", "poise.cli", "demo"]
FACTS = {
    "deliver": "run_result tests_passed release_digest replicas_ready http_status push_to_live_s",
    "observe": "requests availability_ratio latency_ms_p95 coverage_ratio objectives",
    "promote": "weights took_s failed_requests",
    "protect": "detected_after_s canary_requests canary_errors e_value rolled_back user_error_ratio "
    "budget_spent_ratio rejected_remembered",
    "heal": "kill_to_serving_s hang_to_serving_s failed_requests posts_lost_in_flight",
    "scale": "replicas time_to_capacity_s failed_requests",
    "respond": "alert_after_s incident paged_after_s acked true_cause_rank resolved",
    "review": "path sentences sentences_with_evidence budget_spent_ratio ttd_s tta_s ttr_s actions",
    "balance": "budget_left_ratio feature_verdict feature_exit_code fix_verdict override",
    "improve": "deployment_frequency change_lead_time_s change_fail_ratio failed_deployment_recovery_s "
    "rework_ratio evidence",
    "audit": "events chain_ok",
}


def _environment(folder: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(folder)}


def _living(folder: Path) -> list[str]:
    """Command lines of processes that still mention the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and entry.name != str(os.getpid()):
            found.append(line)
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_shows_what_it_promises(tmp_path: Path) -> None:
    """Commit to recovery on real parts; nothing is left behind."""
    report = tmp_path / "report.json"
    played = subprocess.run(
        [*PLAY, "--report", str(report), "--json"],
        env=_environment(tmp_path), capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert played.returncode == 0, played.stderr[-3000:]
    told = json.loads(report.read_text())
    assert told == json.loads(played.stdout)
    assert told["ok"] is True
    assert told["total_s"] > 0
    assert [stage["name"] for stage in told["stages"]] == list(FACTS)
    for stage in told["stages"]:
        assert stage["ok"] is True
        assert set(FACTS[stage["name"]].split()) <= stage["facts"].keys()
    assert "maxBake" in played.stderr.partition("deliver ...")[0], (
        "what is shortened is said before it starts"
    )
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("poise-demo-")]
    assert _living(tmp_path) == []


def _as_in_a_terminal() -> None:
    """Whoever runs these tests in a shell's background has SIGINT ignored, and so would the demo."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C at the worst time: while the house comes up."""
    playing = subprocess.Popen(
        PLAY, env=_environment(tmp_path), stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=_as_in_a_terminal,
    )  # fmt: skip
    assert playing.stderr is not None
    for line in playing.stderr:
        if "poise up" in line:
            break
    playing.send_signal(number)
    playing.communicate(timeout=120)
    assert playing.returncode == 130
    deadline = time.monotonic() + 20
    while _living(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _living(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
