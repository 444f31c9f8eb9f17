"""The one front door: HTTP under ``/api/v1``, server-sent events, and git.

It authenticates, authorises, translates, and writes only what people ask for (orders, principals,
tokens); it decides nothing that a room decides.
"""
