"""The embedded metrics store: recent rounds in an append-only table, older ones in compressed blocks.

It keeps samples exactly as they came and gives them back as ``Block``s. It reads and writes one SQLite file
and knows no PromQL beyond handing a ``Selector`` to the engine. It never decides what a sample means.

A round is one row of ``head``. ``sealing`` turns many rounds into one block (chunks of about 64 Ki samples
of one metric, compressed by pcodec) in the same transaction that deletes their rows, so a crash loses and
doubles nothing. ``assembly`` joins what head and blocks hold of a series. ``reader`` serves any process;
``store`` is the one writer.
"""

from poise.adapters.blocks.reader import BlockReader
from poise.adapters.blocks.store import BlockStore
from poise.adapters.blocks.tending import Retention

__all__ = ["BlockReader", "BlockStore", "Retention"]
