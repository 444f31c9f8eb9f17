"""Branch previews: what a pushed branch looks like, under its own host name and for a short life.

It decides which branch runs beside what is live, from which run, and until when; it reads declarations,
heads of branches, runs and replicas; it never starts anything itself, asks a gate or changes a rollout.
"""
