"""Cause: which change broke it, or that none did.

Decides: the Diagnosis of an incident, its suspects ranked with evidence and the changes that are cleared.
Reads: Incident, Service (dependencies), Rollout, Config and Secret (names of settings, never values),
RollbackRequest, the journal, and Envoy's counters of each version. Writes Diagnosis. Never: rolls anything
back, blames without numbers, or says "no change did it" where nothing was measured.
"""
