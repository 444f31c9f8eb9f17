"""Source: a push becomes a Change.

It decides which heads of a project's branches are changes that nobody has recorded yet; it reads the
repositories and the changes on record; it never builds, never judges and never writes to a repository.
"""
