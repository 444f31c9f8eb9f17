"""When the first question about a revision came, for whoever cannot say when its canary began."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime


class Begun:
    """When the first question about a revision came: that is where its trial begins. Kept in memory.

    After a restart a trial begins anew, which loses evidence and never makes a false alarm.
    """

    def __init__(self, most: int = 1000) -> None:
        self._at: OrderedDict[str, datetime] = OrderedDict()
        self._most = most

    def since(self, key: str, now: datetime) -> datetime:
        """The first time that this was asked about; the longest unasked is forgotten past the bound."""
        at = self._at.setdefault(key, now)
        self._at.move_to_end(key)
        if len(self._at) > self._most:
            self._at.popitem(last=False)
        return at
