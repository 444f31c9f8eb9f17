"""The store on SQLite: WAL, synchronous=FULL, BEGIN IMMEDIATE."""
