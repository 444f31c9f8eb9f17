"""Who pays: a charge per key, and the same key always gives the same charge."""

import os
import zlib

from web import Response, serve

LIMIT_CENTS = 100_000
RATES = {"EUR": 1.0, "CHF": 0.94, "USD": 1.08}
CURRENCY = os.environ.get("CURRENCY", "EUR")


def handle(request):
    match request.method, request.path:
        case _, "/healthz":
            return Response(200, "ok\n")
        case "POST", "/charges":
            return charge(request)
    return Response(404, "there is nothing here\n")


def charge(request, currency=CURRENCY):
    if not request.body.isdecimal() or not 0 < int(request.body) <= LIMIT_CENTS:
        return Response(400, f"a charge is 1 to {LIMIT_CENTS} cents\n")
    key = request.headers.get("idempotency-key", "")
    if not key:
        return Response(400, "a charge needs an Idempotency-Key\n")
    # derived from the key, so a retry on another replica is the same charge
    cents = round(int(request.body) * RATES[currency])
    return Response(201, {"charge": f"ch_{zlib.crc32(key.encode()):08x}", "cents": cents})


if __name__ == "__main__":
    serve(handle)
