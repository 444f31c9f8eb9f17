"""The budget policy: at which level a service is, and since when.

It decides one PolicyState per service (fast, normal, slow, approval, freeze) with the bound and the numbers;
it reads budgets, objectives and the policy; it never looks at a change, and never answers for unknown data:
a budget that nobody knows leaves the level where it was, and the gate holds.
"""
