"""The budget policy: which state a budget is in.

It decides healthy, slow, spent or unknown, with the threshold and the numbers; it reads a budget and
a policy; it never looks at a change.
"""
