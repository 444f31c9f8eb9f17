"""A server elsewhere behind the SignalStore port: what it says, and what becomes of its moods."""

import contextlib
import gzip
import ipaddress
import json
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import cramjam
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.prometheus.server import Reply, bad, good, in_turn, plain, serving

from poise.adapters.prometheus.answer import frame_of
from poise.adapters.prometheus.endpoint import Endpoint
from poise.adapters.prometheus.store import PrometheusSignals
from poise.adapters.prometheus.wire import selector
from poise.model.errors import Invalid, PoiseError, TimedOut, TooLarge, Unreachable
from poise.model.samples import AnswerKind, Limits, Matcher, MatchOp, Metadata, MetricKind, Reading, Round
from poise.ports.signals import Capability

AT_MS = 1_800_000_000_000
UP = {"__name__": "up", "job": "shop"}


def store(url: str, **more: Any) -> PrometheusSignals:
    return PrometheusSignals(Endpoint(url=url, backoff_s=0.001, **{"timeout_s": 5.0, **more}))


def asked(work: Any, signals: PrometheusSignals) -> Any:
    """Run one coroutine and let the connections go."""

    async def run() -> Any:
        try:
            return await work(signals)
        finally:
            await signals.close()

    return anyio.run(run)


def query(signals: PrometheusSignals, expression: str = "up", limits: Limits | None = None) -> Any:
    return asked(lambda one: one.query(expression, AT_MS, limits), signals)


def test_a_vector_is_a_frame_of_one_instant() -> None:
    """What an objective is counted from."""
    result = [{"metric": {**UP, "empty": ""}, "value": [AT_MS / 1000, "1.5"]}]
    with serving(lambda _: good("vector", result, warnings=["partial"], infos=["odd"])) as server:
        frame = query(store(server.url), "up offset 5m")
    assert frame.kind is AnswerKind.VECTOR
    assert frame.series == ((("__name__", "up"), ("job", "shop")),)
    assert frame.values.tolist() == [[1.5]] and frame.present.all()
    assert (frame.warnings, frame.infos) == (("partial",), ("odd",))
    assert (server.asked[0].path, server.asked[0]["query"]) == ("/api/v1/query", "up offset 5m")
    assert server.asked[0]["time"] == "1800000000.000"


def test_nothing_is_no_series_and_never_a_zero() -> None:
    """Silence taken for zero errors would let every change go."""
    with serving(lambda _: good("vector", [])) as server:
        frame = query(store(server.url))
    assert frame.series == () and frame.values.shape == (0, 1)


@pytest.mark.parametrize("text", ["NaN", "+Inf", "-Inf", "-0", "1e308"])
def test_every_float_arrives_as_it_was_sent(text: str) -> None:
    """NaN is a value; -0 is not 0."""
    with serving(lambda _: good("scalar", [AT_MS / 1000, text])) as server:
        frame = query(store(server.url))
    assert frame.kind is AnswerKind.SCALAR and frame.series == ((),)
    assert np.array_equal(frame.values.view(np.uint64), np.array([[float(text)]]).view(np.uint64))


def test_a_range_has_gaps_where_nothing_was_said() -> None:
    """A gap that is drawn as zero is a lie."""
    result = [{"metric": UP, "values": [[1800000000, "1"], [1800000120, "3"]]}]
    with serving(lambda _: good("matrix", result)) as server:
        frame = asked(lambda one: one.query_range("up", AT_MS, AT_MS + 120_000, 60_000), store(server.url))
    assert frame.present.tolist() == [[True, False, True]]
    assert frame.values[0, 0] == 1 and frame.values[0, 2] == 3
    assert server.asked[0]["step"] == "60.000"


def test_another_grid_than_was_asked_for_is_refused() -> None:
    """Values at the wrong instants are worse than none."""
    result = [{"metric": UP, "values": [[1800000007, "1"]]}]
    with serving(lambda _: good("matrix", result)) as server, pytest.raises(Invalid, match="none of"):
        asked(lambda one: one.query_range("up", AT_MS, AT_MS + 120_000, 60_000), store(server.url))


def test_select_reads_half_open_windows_and_the_sample_before() -> None:
    """Prometheus 2 closes a range on both sides, 3 does not: the port's window is (start, end]."""
    result = [{"metric": UP, "values": [[1799999900, "1"], [1799999940, "2"], [1799999999, "3"]]}]
    matchers = [Matcher("__name__", MatchOp.EQUAL, "up"), Matcher("job", MatchOp.MATCHES, 'a"\\b\n')]
    with serving(lambda _: good("matrix", result)) as server:
        block = asked(lambda one: one.select(matchers, AT_MS - 60_000, AT_MS), store(server.url))
        also = asked(lambda one: one.select(matchers, AT_MS - 60_000, AT_MS, before=True), store(server.url))
    assert block.flat.tolist() == [3.0] and block.at_ms[0].tolist() == [AT_MS - 1000]
    assert also.flat.tolist() == [2.0, 3.0]
    assert server.asked[0]["query"] == '{__name__="up",job=~"a\\"\\\\b\\n"}[60000ms]'


def test_a_long_window_of_raw_samples_is_refused() -> None:
    """Raw samples are never pulled by the day."""
    with pytest.raises(TooLarge, match="3600 s"):
        asked(lambda one: one.select([], 0, 86_400_000), store("http://127.0.0.1:1"))


def test_names_series_and_metadata_are_read() -> None:
    """What an editor completes from."""
    said = {
        "/api/v1/series": plain([UP, UP]),
        "/api/v1/labels": plain(["job", "__name__"]),
        "/api/v1/label/a%2Fb/values": plain(["y", "x"]),
        "/api/v1/metadata": plain({"up": [{"type": "gauge", "help": "Is it up.", "unit": ""}], "x": []}),
    }
    matchers = [[Matcher("job", MatchOp.EQUAL, "shop")]]

    async def work(one: PrometheusSignals) -> Any:
        return (
            await one.series(matchers, 0, AT_MS),
            await one.label_names([], 0, AT_MS),
            await one.label_values("a/b", matchers, 0, AT_MS),
            await one.metadata(),
        )

    with serving(lambda one: said[one.path]) as server:
        series, names, values, metadata = asked(work, store(server.url))
    assert series == [(("__name__", "up"), ("job", "shop"))]
    assert (names, values) == (["__name__", "job"], ["x", "y"])
    assert metadata == [Metadata(name="up", kind=MetricKind.GAUGE, help="Is it up.")]
    assert server.asked[0]["match[]"] == '{job="shop"}'


# -- moods ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(status: int) -> None:
    """A proxy that restarts must not cost a reading."""
    speak = in_turn(bad(status, "", "busy", retry_after="0"), good("vector", []))
    with serving(speak) as server:
        query(store(server.url))
    assert len(server.asked) == 2


def test_retry_after_is_waited_for() -> None:
    """Who says when is not asked before."""
    with serving(in_turn(bad(429, "", "slow down", retry_after="0.3"), good("vector", []))) as server:
        began = time.monotonic()
        query(store(server.url))
    assert time.monotonic() - began >= 0.3


def test_a_server_that_stays_broken_is_unreachable_with_its_words() -> None:
    """The message is what the person on call reads."""
    with (
        serving(lambda _: bad(503, "unavailable", "TSDB not ready")) as server,
        pytest.raises(Unreachable) as caught,
    ):
        query(store(server.url, tries=3))
    assert "TSDB not ready" in caught.value.why and len(server.asked) == 3


def test_a_query_that_the_server_gives_up_is_timed_out_and_not_asked_again() -> None:
    """Asking a heavy question again makes it worse."""
    with serving(lambda _: bad(503, "timeout", "query timed out")) as server, pytest.raises(TimedOut):
        query(store(server.url))
    assert len(server.asked) == 1


def test_a_bad_expression_is_the_askers_mistake() -> None:
    """In the server's words, at once."""
    with (
        serving(lambda _: bad(400, "bad_data", "1:5: parse error")) as server,
        pytest.raises(Invalid) as caught,
    ):
        query(store(server.url), "up +")
    assert caught.value.why == "1:5: parse error" and len(server.asked) == 1


def test_too_many_samples_is_a_limit() -> None:
    """Not a mistake in the expression."""
    text = "query processing would load too many samples into memory"
    with serving(lambda _: bad(422, "execution", text)) as server, pytest.raises(TooLarge):
        query(store(server.url))


def test_a_server_that_hangs_ends_in_time() -> None:
    """One dead source must not hold the loop."""
    with serving(lambda _: Reply(hang=True)) as server:
        began = time.monotonic()
        with pytest.raises(TimedOut):
            query(store(server.url, timeout_s=0.3))
    assert time.monotonic() - began < 3


def test_a_server_that_streams_for_ever_is_cut_off() -> None:
    """Its answer must not fill our memory."""
    with serving(lambda _: Reply(endless=True)) as server, pytest.raises(TooLarge):
        query(store(server.url, body_bytes=200_000))


def test_half_an_answer_is_unreachable_or_refused_never_read() -> None:
    """Half the series would be half the errors."""
    whole = good("vector", [{"metric": UP, "value": [AT_MS / 1000, "1"]}])
    half = Reply(body=whole.body[: len(whole.body) // 2])
    with serving(lambda _: half) as server, pytest.raises(Invalid):
        query(store(server.url))
    torn = Reply(body=whole.body, cut=len(whole.body) // 2)
    with serving(lambda _: torn) as server, pytest.raises(Unreachable):
        query(store(server.url, tries=1))


def test_a_compressed_answer_is_refused_unread() -> None:
    """A gzip bomb is small until it is opened."""
    bomb = Reply(body=gzip.compress(b"0" * 10_000_000), headers={"content-encoding": "gzip"})
    with serving(lambda _: bomb) as server, pytest.raises(Invalid, match="compressed"):
        query(store(server.url))


def test_nobody_there_is_unreachable() -> None:
    """After the tries that the endpoint allows."""
    with serving(lambda _: Reply()) as server:
        url = server.url
    with pytest.raises(Unreachable):
        query(store(url, tries=2))


def test_a_redirect_is_not_followed() -> None:
    """Credentials go where they were meant to go."""
    elsewhere = Reply(302, headers={"location": "http://127.0.0.1:1/"})
    with serving(lambda _: elsewhere) as server, pytest.raises(Invalid, match="elsewhere"):
        query(store(server.url, bearer="t"))


def test_a_server_that_takes_no_post_is_asked_by_get() -> None:
    """Some proxies allow reading only."""
    speak = lambda one: bad(405, "", "no") if one.method == "POST" else good("vector", [])  # noqa: E731

    async def twice(one: PrometheusSignals) -> None:
        await one.query("up", AT_MS)
        await one.query("up", AT_MS)

    with serving(speak) as server:
        asked(twice, store(server.url))
    assert [one.method for one in server.asked] == ["POST", "GET", "GET"]
    assert server.asked[1]["query"] == "up"


def test_too_many_series_are_refused() -> None:
    """A selector that matches everything must not reach a page."""
    result = [{"metric": {"n": str(n)}, "value": [1, "1"]} for n in range(11)]
    with serving(lambda _: good("vector", result)) as server, pytest.raises(TooLarge):
        query(store(server.url), limits=Limits(series=10))


def test_a_range_with_too_many_steps_is_not_even_asked() -> None:
    """The limit is Prometheus' own."""
    with pytest.raises(TooLarge, match="steps"):
        asked(lambda one: one.query_range("up", 0, AT_MS, 1000), store("http://127.0.0.1:1"))


def test_native_histograms_are_warned_of() -> None:
    """What was left out is said."""
    result = [{"metric": UP, "histogram": [1, {"count": "1"}]}]
    with serving(lambda _: good("vector", result)) as server:
        frame = query(store(server.url))
    assert frame.series == () and "native histograms" in frame.warnings[0]


# -- credentials ----------------------------------------------------------------------------------


def test_who_asks_is_told_and_a_wrong_credential_is_named() -> None:
    """Bearer, basic and Mimir's tenant."""

    def speak(one: Any) -> Reply:
        right = one.headers.get("authorization") in ("Bearer t0ken", "Basic YW5uYTpwdw==")
        return good("vector", []) if right else bad(401, "", "who are you")

    with serving(speak) as server:
        query(store(server.url, bearer="t0ken", tenant="acme"))
        query(store(server.url, username="anna", password="pw"))
        with pytest.raises(Invalid, match="refuses us") as caught:
            query(store(server.url, bearer="wrong"))
    assert server.asked[0].headers["x-scope-orgid"] == "acme"
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ftp://x", "http://", "http://169.254.169.254/", "http://user:pw@host/", "nonsense"]
)
def test_an_address_that_must_not_be_asked_is_refused(url: str) -> None:
    """A cloud's own secrets live at a link-local address."""
    with pytest.raises(Invalid):
        store(url)


def test_a_source_does_not_show_its_secrets() -> None:
    """Reprs end up in logs."""
    shown = repr(Endpoint(url="http://h/", bearer="t0ken", password="pw", name="p"))
    assert "t0ken" not in shown and "pw" not in shown


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem, private


def test_a_certificate_is_checked_unless_that_is_written_out(tmp_path: Path) -> None:
    """A credential given to whoever listens is given away."""
    pem, key = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem, key)
    with serving(lambda _: good("vector", []), tls) as server:
        query(store(server.url, ca_file=str(pem)))
        query(store(server.url, insecure_skip_verify=True))
        with pytest.raises(Unreachable, match="reached") as caught:
            query(store(server.url, tries=1))
    assert "certificate" in caught.value.why.lower()


def test_a_client_certificate_is_shown(tmp_path: Path) -> None:
    """Servers behind mutual TLS."""
    pem, key = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem, key)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(pem)
    files = {"ca_file": str(pem), "certificate_file": str(pem), "key_file": str(key)}
    with serving(lambda _: good("vector", []), tls) as server:
        query(store(server.url, **files))
        with pytest.raises(Unreachable):
            query(store(server.url, ca_file=str(pem), tries=1))


def test_a_tls_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Without what stands in it."""
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(Invalid, match="TLS file"):
        query(store("https://127.0.0.1:1", ca_file=str(tmp_path / "ca.pem")))


# -- writing --------------------------------------------------------------------------------------


def test_without_a_write_url_nothing_is_appended() -> None:
    """And the capability is not claimed."""
    signals = store("http://127.0.0.1:1")
    assert Capability.APPEND not in signals.capabilities
    with pytest.raises(Invalid, match="written"):
        asked(lambda one: one.append(Round(readings=())), signals)


def test_a_round_goes_out_as_remote_write() -> None:
    """Read back byte by byte: protobuf's wire format under snappy."""
    values = np.array([[1.0, -0.0]])
    reading = Reading(target="t", series=((("__name__", "up"),),), at_ms=np.array([1, 300]), values=values)
    with serving(lambda _: Reply(204)) as server:
        signals = store(server.url, write_url=f"{server.url}/write")
        kept = asked(lambda one: one.append(Round(readings=(reading,))), signals)
    sent = server.asked[0]
    assert kept.kept == 2 and sent.path == "/write" and sent.headers["content-encoding"] == "snappy"
    plain_bytes = bytes(cramjam.snappy.decompress_raw(sent.body))
    label = b"\x0a\x08__name__\x12\x02up"
    first = b"\x09" + np.float64(1.0).tobytes() + b"\x10\x01"
    second = b"\x09" + np.float64(-0.0).tobytes() + b"\x10\xac\x02"
    body = b"\x0a" + bytes([len(label)]) + label
    body += b"\x12" + bytes([len(first)]) + first + b"\x12" + bytes([len(second)]) + second
    assert plain_bytes == b"\x0a" + bytes([len(body)]) + body


def test_a_refused_round_is_said_in_the_servers_words() -> None:
    """Out of order there is for the writer to know."""
    reading = Reading(target="t", series=((),), at_ms=np.array([1]), values=np.array([[1.0]]))
    with serving(lambda _: Reply(400, b"out of order sample")) as server, pytest.raises(Invalid) as caught:
        signals = store(server.url, write_url=server.url)
        asked(lambda one: one.append(Round(readings=(reading,))), signals)
    assert "out of order" in caught.value.why


# -- laws -----------------------------------------------------------------------------------------

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
envelopes = st.fixed_dictionaries(
    {
        "status": st.just("success"),
        "data": st.fixed_dictionaries(
            {
                "resultType": st.sampled_from(["vector", "matrix", "scalar", "string", "odd"]),
                "result": json_like
                | st.lists(st.fixed_dictionaries({"metric": json_like, "values": json_like}), max_size=2)
                | st.lists(st.fixed_dictionaries({"metric": st.just({}), "value": json_like}), max_size=2),
            }
        ),
    }
)


@given(st.binary(max_size=60) | envelopes.map(lambda one: json.dumps(one).encode()))
def test_no_answer_crashes_but_with_its_name(body: bytes) -> None:
    """Whatever a server says, it is read or refused."""
    for grid in (np.array([AT_MS]), AT_MS + 1000 * np.arange(3)):
        with contextlib.suppress(PoiseError):
            frame_of(body, "there", grid, Limits())


@given(st.text(max_size=20))
def test_a_matchers_value_stays_one_string(value: str) -> None:
    """A label's value must not end the selector early."""
    text = selector([Matcher("job", MatchOp.EQUAL, value)])
    inner = text[len('{job="') : -len('"}')]
    unescaped = inner.replace("\\\\", "\0").replace('\\"', "\1")
    assert '"' not in unescaped and "\n" not in unescaped
