"""Everything outside that Poise touches, as protocols with their records.

It decides nothing and does nothing; adapters implement it and the simulation plays it.
"""
