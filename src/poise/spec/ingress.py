"""``ingress.yaml`` of the data folder: how users of this installation enter. Not of a repository."""

from __future__ import annotations

from typing import Final

from poise.model.ingress import Ingress, Pair
from poise.spec.document import Mapping, Place, compose
from poise.spec.keys_datasource import FILE
from poise.spec.kinds import POISE_V1
from poise.spec.problems import CONTRADICTION, TOO_LARGE, WRONG_TYPE, Report
from poise.spec.read import Found, read_record
from poise.spec.shape import Choice, Field, Flag, Integer, ListOf, Record, Text

FILENAME: Final = "ingress.yaml"
CERTIFICATES: Final = 100
ADDRESS: Final = Text(
    pattern=r"\d{1,3}(\.\d{1,3}){3}",
    hint="An IPv4 address: '0.0.0.0' is every one of this machine.",
    max_chars=15,
)
PAIR: Final = Record(
    fields=(
        Field(
            "certFile", FILE, "certificate_file", "The certificate, then what vouches for it.", required=True
        ),
        Field("keyFile", FILE, "key_file", "Its key.", required=True),
    )
)
HTTPS: Final = Record(
    fields=(
        Field(
            "port", Integer(low=1, high=65_535), "https_port", "Where users enter with TLS.", required=True
        ),
        Field("redirect", Flag(), "redirect", "Whether who comes without TLS is sent there."),
        Field(
            "certificates",
            ListOf(item=PAIR, low=1, high=CERTIFICATES),
            "pairs",
            "One per host or group of hosts; who asks for any other gets the first.",
            required=True,
        ),
    )
)
SPEC: Final = Record(
    fields=(
        Field("address", ADDRESS, "address", "Where both ports listen; default 127.0.0.1."),
        Field("https", HTTPS, "", "The port with TLS."),
    )
)
INGRESS: Final = Record(
    fields=(
        Field("apiVersion", Choice(words=(POISE_V1,)), "_version", "The version of its keys.", required=True),
        Field("kind", Choice(words=("Ingress",)), "_kind", "What it declares.", required=True),
        Field("spec", SPEC, "", "How users enter.", required=True),
    )
)


def parse_ingress(text: str, filename: str = FILENAME) -> Ingress:
    """The declared ingress. Raises ``Problems`` with every problem at its line and column."""
    report = Report(filename)
    documents = compose(text, filename)
    if len(documents) > 1:
        report.add(TOO_LARGE, documents[1], "more than one document", mend="Keep one.")
    found: Found | None = None
    if documents and isinstance(documents[0], Mapping):
        found = read_record(INGRESS, documents[0], "the file", report)
    else:
        place = documents[0] if documents else Place()
        report.add(WRONG_TYPE, place, "a document of kind Ingress is wanted", mend="See docs/traffic.md.")
    pairs: list[Pair] = []
    for one in _list(found, "pairs"):
        pair = Pair(
            certificate_file=str(one.values.get("certificate_file")), key_file=str(one.values.get("key_file"))
        )
        if pair in pairs:
            report.add(
                CONTRADICTION, one.node, "this certificate is named twice", mend="Keep one of the two."
            )
        pairs.append(pair)
    report.raise_if_any()
    values = found.values if found is not None else {}
    port = values.get("https_port")
    return Ingress(
        address=str(values.get("address", Ingress().address)),
        https_port=port if isinstance(port, int) else None,
        redirect=bool(values.get("redirect", False)),
        pairs=tuple(pairs),
    )


def _list(found: Found | None, target: str) -> list[Found]:
    value = found.values.get(target) if found is not None else None
    return [one for one in value if isinstance(one, Found)] if isinstance(value, list | tuple) else []
