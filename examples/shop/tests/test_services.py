"""Each service answers as its neighbours expect."""

import unittest

import catalog
import payments
import storefront

from web import Request, Unavailable


class Answering:
    """An upstream that always answers the same and remembers what it was asked."""

    def __init__(self, status, body):
        self.answer = status, body
        self.asked = []

    def ask(self, method, path, body="", key=""):
        self.asked.append((method, path, body, key))
        return self.answer


class Silent:
    """An upstream nobody can reach."""

    def ask(self, method, path, body="", key=""):
        raise Unavailable("nobody there")


def request(method, path, body="", **headers):
    return Request(method, path, {name.replace("_", "-"): value for name, value in headers.items()}, body)


class Storefront(unittest.TestCase):
    def handle(self, asked, upstream):
        return storefront.handle(asked, catalog=upstream, fail_one_in=0)

    def test_the_page_lists_the_catalogue(self):
        response = self.handle(request("GET", "/"), Answering(200, [{"name": "tea", "price_cents": 450}]))
        self.assertEqual(response.status, 200)
        self.assertIn("tea: 4.50", response.body)

    def test_an_order_is_reserved_under_its_own_key(self):
        upstream = Answering(201, {"charge": "ch_1"})
        order = request("POST", "/orders", "item=cup")
        numbers = {self.handle(order, upstream).body["order"] for _ in range(3)}
        self.assertEqual(len(numbers), 3)
        self.assertEqual({key for *_, key in upstream.asked}, numbers)
        self.assertEqual({body for _, _, body, _ in upstream.asked}, {"cup"})

    def test_an_unknown_item_is_not_found(self):
        self.assertEqual(self.handle(request("POST", "/orders", "item=yak"), Answering(404, "")).status, 404)

    def test_no_catalogue_is_said_plainly(self):
        self.assertEqual(self.handle(request("GET", "/"), Silent()).status, 502)
        self.assertEqual(self.handle(request("POST", "/orders"), Silent()).status, 502)

    def test_health_needs_no_neighbour(self):
        self.assertEqual(self.handle(request("GET", "/healthz"), Silent()).status, 200)

    def test_other_paths_are_not_found(self):
        self.assertEqual(self.handle(request("GET", "/admin"), Silent()).status, 404)

    def test_the_planted_bug_breaks_one_request_in_so_many(self):
        self.assertEqual(sum(storefront.breaks(count, 5) for count in range(1, 101)), 20)
        self.assertFalse(any(storefront.breaks(count, 0) for count in range(1, 101)))


class Catalog(unittest.TestCase):
    def test_every_item_has_a_price(self):
        items = catalog.handle(request("GET", "/items")).body
        self.assertTrue(all(item["price_cents"] > 0 for item in items))

    def test_a_reservation_charges_the_price_under_the_same_key(self):
        upstream = Answering(201, {"charge": "ch_2"})
        response = catalog.handle(request("POST", "/reservations", "tea", idempotency_key="k"), upstream)
        self.assertEqual((response.status, response.body["charge"]), (201, "ch_2"))
        self.assertEqual(upstream.asked, [("POST", "/charges", "450", "k")])

    def test_what_is_not_sold_is_not_charged(self):
        upstream = Answering(201, {})
        self.assertEqual(catalog.handle(request("POST", "/reservations", "yak"), upstream).status, 404)
        self.assertEqual(upstream.asked, [])

    def test_no_payments_is_said_plainly(self):
        self.assertEqual(catalog.handle(request("POST", "/reservations", "tea"), Silent()).status, 502)


class Payments(unittest.TestCase):
    def charge(self, cents, **headers):
        return payments.handle(request("POST", "/charges", cents, **headers))

    def test_the_same_key_is_the_same_charge(self):
        once, twice = self.charge("450", idempotency_key="k"), self.charge("450", idempotency_key="k")
        self.assertEqual(once, twice)
        self.assertNotEqual(once, self.charge("450", idempotency_key="other"))

    def test_a_charge_without_a_key_is_refused(self):
        self.assertEqual(self.charge("450").status, 400)

    def test_a_charge_out_of_range_is_refused(self):
        for cents in ("0", "-1", "100001", "4.5", ""):
            with self.subTest(cents=cents):
                self.assertEqual(self.charge(cents, idempotency_key="k").status, 400)
