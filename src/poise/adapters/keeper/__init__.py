"""The keeper as a `Runtime`: a client of its socket, and its start.

Decides: when to connect again. Reads: answers and events of the keeper. Never: owns a process itself.
"""

from poise.adapters.keeper.client import KeeperClient
from poise.adapters.keeper.start import ensure_keeper

__all__ = ["KeeperClient", "ensure_keeper"]
