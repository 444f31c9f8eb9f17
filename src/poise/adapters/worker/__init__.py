"""The worker: a process of its own for what could hold the interpreter, such as a PromQL query.

It decides what a query may cost (time, memory, how many at once) and that one that costs more dies alone. It
reads the metrics database and never writes; it is asked over a socket by the control process, answers in
pieces that are already encoded, and ends with its parent.

``pool`` is the asking side, ``__main__`` the process, ``jobs`` the table of what can be asked, ``answers``
the JSON of Prometheus' HTTP API, ``wire`` what both sides know.
"""
