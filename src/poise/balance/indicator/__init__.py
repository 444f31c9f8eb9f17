"""Indicators (SLI): which events were good and which were bad.

It decides how counters become event-exact deltas and which time was measured; it reads points of
monotone counters; it never averages ratios, extrapolates, or answers NaN.
"""
