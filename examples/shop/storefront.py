"""What shoppers see: a page with the catalogue, and a place to order."""

import itertools
import os
import time
from html import escape
from urllib.parse import parse_qs

from version import FAIL_ONE_IN, VERSION

from web import Response, Unavailable, Upstream, serve

CATALOG = Upstream("CATALOG_URL")
served = itertools.count(1)
orders = itertools.count(1)


def handle(request, catalog=CATALOG, fail_one_in=FAIL_ONE_IN):
    path = request.path.partition("?")[0]
    if path == "/healthz":
        return Response(200, "ok\n")
    if breaks(next(served), fail_one_in):
        return Response(500, "the planted bug\n")
    try:
        match request.method, path:
            case (("GET" | "HEAD"), "/"):
                return front_page(catalog)
            case "POST", "/orders":
                return order(request, catalog)
            case _, "/fail":  # a known way to spend the error budget: every request here fails
                return Response(500, "it failed, as asked\n")
    except Unavailable as error:
        return Response(502, f"the shop cannot reach its catalogue: {error}\n")
    return Response(404, "there is nothing here\n")


def breaks(count, one_in):
    """Whether the `count`th request meets the planted bug."""
    return one_in > 0 and count % one_in == 0


def front_page(catalog):
    status, items = catalog.ask("GET", "/items")
    if status != 200:
        return Response(502, f"the catalogue answered {status}\n")
    lines = [f"{escape(item['name'])}: {item['price_cents'] / 100:.2f}" for item in items]
    return Response(200, f"The shop, version {VERSION}\n" + "\n".join(lines) + "\n")


def order(request, catalog):
    form = parse_qs(request.body)
    item = form.get("item", ["tea"])[0]
    number = f"{os.getpid()}-{time.time_ns()}-{next(orders)}"
    status, answer = catalog.ask("POST", "/reservations", body=item, key=number)
    if status == 201:
        return Response(201, {"order": number, "item": item, "charge": answer["charge"]})
    return Response(404 if status == 404 else 502, f"the catalogue answered {status}\n")


if __name__ == "__main__":
    serve(handle)
