"""Burns: when one began, what it has spent since, and how likely it is to be real.

It decides from counts by the minute whether an objective burns, since when and whether that is over; it
reads counts and what probes saw; it never alerts anybody and never asks whether a change may go.
"""
