"""Healing: which hanging process is replaced, and when it is wiser to touch nothing.

Decides: heal orders, one exact process each, within the heal budget; a person's restart, one by one.
Reads: Replica (readiness is fleet's), Service, Project.heal, Order (restart). Writes HealOrder.
Never: kills anything itself, kills when half of a service fails together, or starts a crashed process (the
keeper's reflex does).
"""
