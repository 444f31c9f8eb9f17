"""Probes from outside: HTTP, TCP, TLS and DNS, under blackbox_exporter's metric names.

It decides whether one look succeeded and measures it; it reads nothing but the network. ``looks`` are the
four ways, ``prober`` the beat that records them.

Source: github.com/prometheus/blackbox_exporter.
"""

from poise.adapters.blackbox.looks import look
from poise.adapters.blackbox.prober import BlackboxProber

__all__ = ["BlackboxProber", "look"]
