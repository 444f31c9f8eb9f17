"""Envoy 1.40 as the Traffic port: a plan becomes files; statistics become acknowledgement and counters.

It decides nothing: `config` turns a plan into bytes, `admin` asks Envoy what it runs, `counters` names what
it counted, `adapter` writes in the safe order. It reads Envoy's admin socket and its own files in DATA/envoy.
It never writes endpoint files (the keeper does) and never starts a process itself (the keeper does, with the
argv of `launch`).
"""
