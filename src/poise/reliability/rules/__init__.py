"""Rules: alerts of a project's alerting rules become alerts of its services.

Decides: which ``Alert`` fires and which has ended, one per label set of a rule, by its ``severity`` label.
Reads: RuleState (where the ruler left the alerts). Writes Alert, those whose name begins with ``rule:``.
Never: evaluates, ends an alert because a rule failed, or tells anybody (incident and paging do).
"""
