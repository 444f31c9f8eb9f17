"""What people write in git, read as text: ``poise.yaml``, OpenSLO, workflows and commit messages.

It decides whether a text means something and what; it reads only the text that it is given. It never
does I/O, never fills a gap with a guess, and never ignores a key: what it cannot honour it refuses, with
``file:line:column`` and a mend.
"""
