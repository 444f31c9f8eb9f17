"""The command line: a client of the API, plus the commands that start, check and simulate the house.

It decides nothing; it asks, prints data on stdout, talk on stderr, and exits with a code that says why.
"""
