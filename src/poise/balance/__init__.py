"""The pivot: how fast may we go?

It decides budgets from what was measured and verdicts from budgets; it reads signals, objectives and
asks; it never touches a replica, a route or a rollout, and never imports delivery, reliability or fleet.
"""
