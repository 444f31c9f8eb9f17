"""A registry of images that answers pulls, on loopback. Source: OCI distribution-spec 1.1, "Pull"."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from contextlib import closing
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DOCKER = "application/vnd.docker"
MANIFEST = f"{DOCKER}.distribution.manifest.v2+json"


class Registry:
    """What is put into it, by tag and by digest, until it is closed."""

    def __init__(self) -> None:
        held: dict[str, bytes] = {}
        self._held = held

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_manifest, name = "/manifests/" in self.path, self.path.rpartition("/")[2]
                body = b"{}" if self.path == "/v2/" else held.get(name)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Type", MANIFEST if is_manifest else "application/octet-stream")
                self.send_header("Content-Length", str(len(body or b"")))
                if is_manifest and body:
                    self.send_header("Docker-Content-Digest", digest(body))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body or b"")

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_port}"

    def put(self, tag: str, saved: bytes) -> str:
        """Make ``tag`` an image that an engine saved as a tar; the digest of its manifest."""
        with closing(tarfile.open(fileobj=io.BytesIO(saved))) as tar:

            def read(name: str) -> bytes:
                file = tar.extractfile(name)
                assert file
                return file.read()

            (image,) = json.loads(read("manifest.json"))
            config, *layers = [read(name) for name in (image["Config"], *image["Layers"])]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._blob(f"{DOCKER}.container.image.v1+json", config),
            "layers": [self._blob(f"{DOCKER}.image.rootfs.diff.tar", layer) for layer in layers],
        }
        body = json.dumps(manifest).encode()
        self._held[tag] = self._held[digest(body)] = body
        return digest(body)

    def close(self) -> None:
        """Nobody answers there any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _blob(self, kind: str, body: bytes) -> dict[str, Any]:
        self._held[digest(body)] = body
        return {"mediaType": kind, "size": len(body), "digest": digest(body)}


def digest(body: bytes) -> str:
    """As registries write it."""
    return f"sha256:{sha256(body).hexdigest()}"
