"""Poise: from commit to recovery on one record, paced by the error budget."""

__version__ = "0.1.0"
