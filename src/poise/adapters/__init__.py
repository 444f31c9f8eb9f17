"""The real parts behind the ports: SQLite, git, Envoy, the keeper, sandboxes, signals, load.

Decides nothing: each adapter does what one port asks, and says so when it cannot. Reads only what its port
hands it and the part it wraps. Never imports a wing, the API or another face of Poise.
"""
