"""The forecast of a budget: how likely it is to be spent soon, and when a frozen team may go on.

It decides from hourly counts a distribution of what will be left; it reads the counts and the burn that
goes on; it never asks a clock or a random source, and never decides whether a change may go.
"""
