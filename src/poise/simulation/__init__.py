"""Simulation: a seeded world that plays the ports, so that rooms run faster than life and in trouble.

Decides: what users, processes, Envoy and people do, and what goes wrong when; from the seed alone.
Reads: everything, to hold the real loop and the real rooms to their invariants after every event.
Never: replaces a room or the loop, reads a real clock, or lets two runs of one seed differ.
"""
