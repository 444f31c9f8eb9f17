"""The demo's story: a shop is shipped, watched, healed, scaled, broken, mended and learned from.

Decides nothing about the product: it does what a user does (git, the command line, HTTP; signals to processes
where something shall break) and measures what a user would see. Reads the API, answers and git's output.
Never reaches into the rooms, the store or the keeper, and never writes outside its own temporary folder.
"""
