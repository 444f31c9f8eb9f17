"""Scorecard: DORA's five figures and objectives met, from the record.

It decides what was a deployment, which failed, and how long commits and repairs took; it reads the journal
and the budgets; it never writes, never compares teams and never gives a grade.
"""
