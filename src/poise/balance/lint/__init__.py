"""Objectives looked over before they are deployed: what cannot work, and what the data says against them.

It decides findings, each with a place and a mend; it reads declared objectives, their policy and what was
measured of their counters; it never changes an objective and never counts a budget. Start at ``rules.lint``.
"""
