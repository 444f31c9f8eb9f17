"""OpenSLO v1 as its own documents, every kind of it: read, checked by the specification, written again.

This is the format, not what Poise runs: ``poise.yaml`` is read by ``spec.service``. ``keys`` has the shapes,
``rules`` what no shape can say, ``documents`` reads and writes.
"""
