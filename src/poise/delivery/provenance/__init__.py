"""Provenance: whether a release is what was built here, before anything of it starts.

It decides, once for each rollout, whether the release's envelope, the key that signed it and the files in the
store fit together; it reads the release, its attestation, the keys that are trusted and the files; it never
signs anything (pipeline does, when it packs), and never starts or stops anything (fleet does, and asks for
this room's word first).

Reading order: ``decide`` (pure) -> ``deeds`` (reads and records).
"""
