"""How many servers keep waiting short: the M/M/c queue (Erlang C).

Source: A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in automatic
telephone exchanges" (1917); the recursion for Erlang B is in R. B. Cooper, "Introduction to Queueing Theory"
(1981), chapter 3. Arrivals are Poisson, service times exponential: both are pessimistic for steady work.
"""

from __future__ import annotations

from math import exp, inf


def wait_probability(servers: int, offered: float) -> float:
    """The ratio of requests that find all ``servers`` busy (Erlang C); 1 when the load is too much.

    ``offered`` is the load in Erlangs: arrivals per second / what one server answers per second.

    >>> wait_probability(1, 0.5)  # M/M/1: the server is busy half of the time
    0.5
    >>> round(wait_probability(10, 8.0), 4)  # tables of Erlang C: 0.4092
    0.4092
    >>> wait_probability(4, 4.0), wait_probability(3, 0.0)
    (1.0, 0.0)
    """
    if offered <= 0:
        return 0.0
    if servers <= offered:
        return 1.0
    blocked = 1.0  # Erlang B by its stable recursion
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked / (1.0 - (offered / servers) * (1.0 - blocked))


def late_ratio(servers: int, rate_per_s: float, service_rate_per_s: float, wait_s: float) -> float:
    """The ratio of requests that wait longer than ``wait_s`` seconds for one of ``servers`` to be free.

    >>> round(late_ratio(10, 8.0, 1.0, 0.5), 4)  # 0.4092 e^-(10 - 8) x 0.5
    0.1505
    """
    offered = rate_per_s / service_rate_per_s if service_rate_per_s > 0 else inf
    waits = wait_probability(servers, offered)
    return waits if waits >= 1 else waits * exp(-(servers * service_rate_per_s - rate_per_s) * wait_s)


def replicas_for(
    rate_per_s: float,
    *,
    service_rate_per_s: float,
    concurrency: int,
    wait_s: float,
    late_ratio_max: float,
    most: int,
) -> int:
    """The least number of replicas, 1 to ``most``, by which at most ``late_ratio_max`` wait over ``wait_s``.

    A replica is ``concurrency`` servers that together answer ``service_rate_per_s``.

    >>> how = dict(service_rate_per_s=20.0, concurrency=1, wait_s=0.05, late_ratio_max=0.05, most=100)
    >>> [replicas_for(rate, **how) for rate in (0.0, 10.0, 100.0, 500.0, 1e9)]
    [1, 2, 7, 28, 100]
    """
    each = service_rate_per_s / concurrency
    enough = (
        count
        for count in range(max(1, min(most, int(rate_per_s / service_rate_per_s))), most + 1)
        if late_ratio(count * concurrency, rate_per_s, each, wait_s) <= late_ratio_max
    )
    return next(enough, most)
