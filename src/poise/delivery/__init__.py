"""How a change reaches users: source, pipeline, infrastructure, rollout.

It decides what is built, released and rolled out; it reads the store, the repositories and verdicts; it
never starts a replica, moves traffic or judges a budget.
"""
