"""Remote-write 1.0: what Prometheus and its kin push, read into series.

It decides which series are broken; those are named and left out, and the rest of the request is kept. It
reads one compressed request at a time. It never answers anybody and never stores anything. Version 2.0 is
not read.
"""
