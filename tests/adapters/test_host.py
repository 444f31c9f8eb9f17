"""The machine under node_exporter's names: this one, and one that is written down."""

from __future__ import annotations

from pathlib import Path

from poise.adapters.host import measured

PROC = {
    "stat": "cpu  10 0 5 100\ncpu0 1000 50 500 9000 70 0 30 0 0 0\nctxt 12\nbtime 1700000000\n",
    "meminfo": "MemTotal:       24600000 kB\nActive(anon):  8 kB\nHugePages_Total:       4\n",
    "loadavg": "0.50 0.25 0.10 1/300 4242\n",
    "diskstats": " 8 0 sda 10 1 200 30 5 2 80 40 1 50 90 0 0 0 0\n 7 0 loop0 1 1 1 1 1 1 1 1 1 1 1\n",
    "self/net/dev": "Inter-|\n face |\n  eth0: 100 2 0 1 0 0 0 0 300 4 5 0 0 0 0 0\n",
    "self/mounts": "proc /proc proc rw 0 0\nserver:/x /nfs nfs rw 0 0\n/dev/sda1 / ext4 ro,relatime 0 0\n",
    "sys/fs/file-nr": "1024\t0\t99999\n",
}


def written(folder: Path, **changes: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    for name, text in {**PROC, **changes}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {(name, labels): value for name, labels, value in measured(folder, 5.0)}


def test_the_numbers_are_node_exporters(tmp_path: Path) -> None:
    found = written(tmp_path)
    assert found["node_cpu_seconds_total", (("cpu", "0"), ("mode", "system"))] == 5.0
    assert found["node_memory_MemTotal_bytes", ()] == 24600000 * 1024
    assert found["node_memory_Active_anon_bytes", ()] == 8192
    assert found["node_memory_HugePages_Total", ()] == 4
    assert found["node_load1", ()] == 0.5 and found["node_boot_time_seconds", ()] == 1.7e9
    sda = (("device", "sda"),)
    assert found["node_disk_read_bytes_total", sda] == 200 * 512
    assert found["node_disk_io_time_seconds_total", sda] == 0.05
    assert found["node_network_transmit_errs_total", (("device", "eth0"),)] == 5
    assert found["node_filefd_maximum", ()] == 99999


def test_only_disks_are_asked_for_their_space(tmp_path: Path) -> None:
    found = written(tmp_path)
    mounts = {dict(labels)["mountpoint"] for name, labels in found if name == "node_filesystem_size_bytes"}
    assert mounts == {"/"}
    root = (("device", "/dev/sda1"), ("fstype", "ext4"), ("mountpoint", "/"))
    assert found["node_filesystem_readonly", root] == 1.0
    assert 0 < found["node_filesystem_avail_bytes", root] <= found["node_filesystem_size_bytes", root]


def test_a_mount_that_is_gone_is_told_and_the_rest_measured(tmp_path: Path) -> None:
    found = written(tmp_path, **{"self/mounts": "/dev/sdb /no\\040such ext4 rw 0 0\n"})
    gone = (("device", "/dev/sdb"), ("fstype", "ext4"), ("mountpoint", "/no such"))
    assert found["node_filesystem_device_error", gone] == 1.0
    assert ("node_load1", ()) in found


def test_what_the_kernel_does_not_tell_is_left_out(tmp_path: Path) -> None:
    assert {name for name, _, _ in measured(tmp_path, 5.0)} == {"node_time_seconds", "node_uname_info"}


def test_this_machine_can_be_measured() -> None:
    names = {name for name, _, _ in measured(Path("/proc"), 5.0)}
    assert {"node_cpu_seconds_total", "node_memory_MemAvailable_bytes", "node_load15"} <= names
