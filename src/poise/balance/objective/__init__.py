"""Objectives (SLO): how an objective stands, in words.

It decides the status and the sentence that people read; it reads a budget and the policy; it never
changes either.
"""
