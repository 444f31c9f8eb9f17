"""The keeper: one small process per machine that is the parent of every workload, build step and Envoy.

Decides: only when a dead workload is started again (at once, then with a jittered back-off that forgets),
which loopback port it gets, and which live ports stand in Envoy's endpoint files.
Reads: requests on its unix socket, /proc, and its own journal in DATA/run.
Never: imports anything of Poise or any third party, probes health, decides what should run, or gives up.

Reading order: `serve` (socket and requests) -> `supervise` (the table of workloads) -> `launch`, `sandbox`,
`probe`, `endpoints`, `logs` (one deed each) -> `state`, `journal` (what survives kill -9).
The package is also importable as top-level `keeper` (relative imports only), so that
`python -I -S .../poise/keeper` loads nothing else: that keeps it near 12 MB.
"""
