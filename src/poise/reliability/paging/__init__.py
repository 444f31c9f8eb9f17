"""Paging: who is told of an incident, when the next one is, and when it stops.

Decides: the next step of the escalation of each open incident that pages, and the pages it asks for; a
message to those who were paged once it is resolved; who is told of a dispute that nobody decides.
Reads: Incident, Grant, EscalationPolicy, OnCallSchedule, OnCallOverride. Writes Escalation, Summons and Page.
Never: opens, acknowledges or resolves an incident, or forgets one that nobody has acknowledged.
"""
