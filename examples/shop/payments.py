"""Who pays: a charge per key, and the same key always gives the same charge."""

import zlib

from web import Response, serve

LIMIT_CENTS = 100_000


def handle(request):
    match request.method, request.path:
        case _, "/healthz":
            return Response(200, "ok\n")
        case "POST", "/charges":
            return charge(request)
    return Response(404, "there is nothing here\n")


def charge(request):
    if not request.body.isdecimal() or not 0 < int(request.body) <= LIMIT_CENTS:
        return Response(400, f"a charge is 1 to {LIMIT_CENTS} cents\n")
    key = request.headers.get("idempotency-key", "")
    if not key:
        return Response(400, "a charge needs an Idempotency-Key\n")
    # derived from the key, so a retry on another replica is the same charge
    return Response(201, {"charge": f"ch_{zlib.crc32(key.encode()):08x}", "cents": int(request.body)})


if __name__ == "__main__":
    serve(handle)
