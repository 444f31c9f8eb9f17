"""The gate: may this change go, slowly, or not now?

It decides one immutable Verdict per ask and writes overrides; it reads rollouts' asks, budgets, the
policy, overrides, open incidents and overdue actions of reviews; it never refreshes a verdict, and
unknown data is never a go.
"""
