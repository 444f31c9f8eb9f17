"""The words of Poise: frozen records that every part reads and writes.

It decides nothing, reads nothing and never does I/O; every other package may import it and it imports
none of them.
"""
