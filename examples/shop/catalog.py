"""What the shop has: its items and their prices; a reservation is charged at once."""

from web import Response, Unavailable, Upstream, serve

PAYMENTS = Upstream("PAYMENTS_URL")
PRICES_CENTS = {"tea": 450, "cup": 990, "kettle": 3900}


def handle(request, payments=PAYMENTS):
    match request.method, request.path:
        case _, "/healthz":
            return Response(200, "ok\n")
        case "GET", "/items":
            return Response(200, items())
        case "POST", "/reservations":
            return reserve(request, payments)
    return Response(404, "there is nothing here\n")


def items():
    return [{"name": name, "price_cents": cents} for name, cents in PRICES_CENTS.items()]


def reserve(request, payments):
    if request.body not in PRICES_CENTS:
        return Response(404, "there is no such item\n")
    cents = PRICES_CENTS[request.body]
    key = request.headers.get("idempotency-key", "")
    try:
        status, answer = payments.ask("POST", "/charges", body=str(cents), key=key)
    except Unavailable as error:
        return Response(502, f"payments cannot be reached: {error}\n")
    if status != 201:
        return Response(502, f"payments answered {status}\n")
    return Response(201, {"item": request.body, "charge": answer["charge"]})


if __name__ == "__main__":
    serve(handle)
