"""Prometheus text 0.0.4 and OpenMetrics 1.0 text, read into series.

It decides which lines are broken; those are named and left out, and the rest of the page is kept. It reads
the bytes of one page at a time, and remembers the series of the page before so that the next is read fast. It
never asks anybody for a page and never stores one. Start at ``page.Exposition``.
"""
