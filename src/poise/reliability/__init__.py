"""Reliability: how does it stay up?

Decides: what to heal, scale, page and review. Reads the store only; its rooms meet there. Never imports
delivery, balance or fleet, and has no hands: fleet does what its records ask.
"""
