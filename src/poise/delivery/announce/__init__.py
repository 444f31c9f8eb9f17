"""Announce: what happens here is told to who asked for it, as CDEvents.

It decides which events of the journal go to which sink next; it reads the project's sinks, how far each has
been told and the journal; it never waits for a sink, never holds an event in memory for one, and never
passes on what another system told.
"""
