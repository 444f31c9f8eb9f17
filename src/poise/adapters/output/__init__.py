"""The output of replicas and steps, read from the files they write themselves.

Decides: which bytes are looked at, what of them may be shown, and when they were written.
Reads: ``logs/`` of the data folder: files with a hole at the front (``keeper/logs.py``) and their indices.
Never: writes to a log, holds a whole file, shows a secret or a control character, or searches without a limit
of bytes and time.

Reading order: ``files`` (which) -> ``index`` (when) -> ``text`` (what is shown) -> ``matcher`` -> ``search``
(the newest lines that match) -> ``follow`` (what comes after) -> ``retention`` (what goes).
"""
