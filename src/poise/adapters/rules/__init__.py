"""Rules evaluated: a group at one instant over a ``Selector``, in its order, as Prometheus 3.x does.

It decides what a rule records, which alerts are pending, firing or over, and what their templates say. It
reads through the ``Selector`` it is given; it never writes: what a rule gave is seen by those after it
through an ``overlay``. It runs in the worker and, over series of a test file, in ``poise rules test``.
"""

from poise.adapters.rules.evaluation import evaluate

__all__ = ["evaluate"]
