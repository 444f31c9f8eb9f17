"""Incident: which alerts are one trouble, how bad it is, and where it stands with the people on it.

Decides: AlertGroups and Incidents, one per cause; a person's orders; when an incident is over.
Reads: Alert, Service.depends_on, Project.alerts, Rollout, IncidentOrder. Writes AlertGroup, Incident.
Never: pages anybody (paging does), looks for the cause (cause does), or acts on a service.
"""
