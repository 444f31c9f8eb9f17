"""The loop that turns decisions into deeds.

It decides when to look and whether a decision still stands; it reads the store and the clock; it never
knows what a service, a budget or a rollout is.
"""
