"""Rollout: a release on its way to users, step by step, and back at once when it harms them.

It decides when a release becomes a rollout, which weight the canary should take, and whether to promote
or roll back; it reads releases, orders, verdicts, the acknowledged route, readiness and the canary's
counters; it never raises a weight without a fresh verdict and never touches traffic or processes.
"""
