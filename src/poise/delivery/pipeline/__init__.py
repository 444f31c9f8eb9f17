"""Pipeline: a change is built and tested, and yields releases.

It decides which jobs of a run start, how a run ends and which releases it yields; it reads changes, the
workflow files of their commits and the results that steps leave behind; it never runs a step itself
(``deeds`` does, when the loop asks), and never decides whether a release may reach users.

Reading order: ``decide`` (pure) -> ``controller`` (looks) -> ``plan`` (files to jobs) -> ``deeds``.
"""
