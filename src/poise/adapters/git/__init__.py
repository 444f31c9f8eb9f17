"""git as it is installed: bare repositories, smart HTTP through ``git http-backend``, the pre-receive hook.

It decides only which git command answers a question; it reads and keeps ``repos/``; it never parses what a
commit contains (the hook asks ``spec`` for that, and the pipeline's plan what becomes of a branch) and never
builds.
"""

from poise.adapters.git.repositories import GitRepositories

__all__ = ["GitRepositories"]
