"""Detection: what is wrong with a service, and since when.

Decides: alerts that fire and end, one per condition: burn rates, replicas, missing signals, healing.
Reads: Service, Project.alerts, Budget, Outlook, Replica, Rollout, HealOrder, RollbackRequest. Writes Alert.
Never: alerts on a deploy alone, ends an alert for want of data, or tells anybody (incident and paging do).
"""
