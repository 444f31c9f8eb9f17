"""A history replayed: what budgets, alerts and the gate would have said, before an objective is deployed.

It decides what each alert policy would have fired and which target the history supports; it reads readings of
the past and a file's objectives and policy; it never writes anything, and never counts by rules of its own:
what counts, tests and judges here is what does so live. Start at ``replay.replayed``.
"""
