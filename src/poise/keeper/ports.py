"""Fresh loopback ports, one for every start."""

from __future__ import annotations

import os
import socket

from .limits import PORT_HIGH, PORT_LOW

_next = PORT_LOW + int.from_bytes(os.urandom(2), "big") % (PORT_HIGH - PORT_LOW)


def fresh(taken: set[int]) -> int:
    """Return a port nobody listens on, not in `taken`, and as long unused as can be.

    Taken from outside the ephemeral range: there an outgoing connection of anybody could occupy the port
    between this check and the workload's bind. Raises OSError when none is free.
    """
    global _next
    for _ in range(PORT_HIGH - PORT_LOW):
        _next = _next + 1 if _next + 1 < PORT_HIGH else PORT_LOW
        if _next not in taken and _free(_next):
            return _next
    raise OSError(98, "no free loopback port")


def _free(port: int) -> bool:
    # No SO_REUSEADDR: a port still in TIME_WAIT would be refused to a plain bind of the workload too.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - bound for an instant, never listened on
        except OSError:
            return False
    return True
