"""Infrastructure: what ``poise.yaml`` declares becomes the record.

It decides which projects, services and objectives are new, changed or gone; it reads the declarations at
the head of the project's branch and what is on record; it never starts, stops or builds anything.
"""
