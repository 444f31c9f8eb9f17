"""Error budgets: what is left and how fast it burns.

It decides the Budget of each objective, whose one writer it is; it reads objectives, the project's
policy and counters; it never decides whether a change may go.
"""
