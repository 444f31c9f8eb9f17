"""Healing: which hanging process is replaced, and when it is wiser to touch nothing.

Decides: heal orders, one exact process each, within the heal budget; whether a heal helped; a person's
restart, one by one; the request to roll back a release whose replicas crash soon after it.
Reads: Replica (readiness is fleet's), Service, Project.heal, Order (restart), Rollout. Writes HealOrder and
RollbackRequest.
Never: kills anything itself, kills when half of a service fails together, or starts a crashed process (the
keeper's reflex does).
"""
