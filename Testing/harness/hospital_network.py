"""A hospital's network on 127.0.0.1: package index and proxy in one server, a root certificate; nothing leaves here."""

from __future__ import annotations

import base64
import http.server
import shutil
import socketserver
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

#: A package that no public index has, and the host of its index, which only the proxy knows.
PACKAGE, HOST = "flairseg-probe", "index.hospital.test"


@dataclass
class Network:
    """What the server demands, what it has, and what it was asked."""

    #: ``user:password`` that the proxy, or the index, demands; empty: none.
    proxy_login: str = ""
    index_login: str = ""
    wheels: tuple[Path, ...] = ()
    #: For the index behind the proxy; with ``direct_tls``, for the server itself.
    tls: ssl.SSLContext | None = None
    direct_tls: bool = False
    #: Method and target of each request.
    seen: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    network: Network

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def do_CONNECT(self) -> None:
        """As a proxy: every host is the index, with TLS."""
        self.network.seen.append(f"CONNECT {self.path}")
        if self._refused("Proxy-Authorization", self.network.proxy_login, 407, "Proxy-Authenticate"):
            return
        self.send_response(200, "Connection established")
        self.end_headers()
        assert self.network.tls is not None
        try:
            self.connection = self.network.tls.wrap_socket(self.connection, server_side=True)
        except OSError:  # the certificate was not accepted
            self.close_connection = True
            return
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = socketserver._SocketWriter(self.connection)
        self.close_connection = False  # Python 3.11 asks for tunnels in HTTP/1.0

    def do_GET(self) -> None:
        """As a proxy without TLS, and as the index."""
        self.network.seen.append(f"GET {self.path}")
        proxied, network = "://" in self.path, self.network
        if proxied and self._refused("Proxy-Authorization", network.proxy_login, 407, "Proxy-Authenticate"):
            return
        if self._refused("Authorization", network.index_login, 401, "WWW-Authenticate"):
            return
        name = self.path.rstrip("/").rsplit("/", 1)[-1]
        files = {wheel.name: wheel for wheel in network.wheels}
        if name in files:
            self._answer(200, files[name].read_bytes())
        elif name == PACKAGE and files:
            links = "".join(f'<a href="/files/{file}">{file}</a>' for file in files)
            self._answer(200, f"<!DOCTYPE html><html><body>{links}</body></html>".encode())
        else:
            self._answer(404, b"no such package")

    def _refused(self, header: str, login: str, status: int, demand: str) -> bool:
        if not login or self.headers.get(header) == f"Basic {base64.b64encode(login.encode()).decode()}":
            return False
        self._answer(status, b"log in", (demand, 'Basic realm="hospital"'))
        return True

    def _answer(self, status: int, body: bytes, extra: tuple[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        if extra:
            self.send_header(*extra)
        self.end_headers()
        self.wfile.write(body)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: clients that do not accept the certificate hang up."""


@contextmanager
def serve(network: Network) -> Iterator[Network]:
    """Run the server; its port is then in ``network.port``."""
    with _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"network": network})) as server:
        if network.direct_tls:
            assert network.tls is not None
            server.socket = network.tls.wrap_socket(server.socket, server_side=True)
        network.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield network
        finally:
            server.shutdown()
            thread.join()


def write_wheel(folder: Path, tag: str = "py3-none-any") -> Path:
    """Write a wheel of :data:`PACKAGE` for the Python and the system of a tag."""
    stem = f"{PACKAGE.replace('-', '_')}-1.0"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("flairseg_probe.py", "")
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return path


def why_no_certificates() -> str | None:
    """Why no certificates can be made here; None if they can."""
    return None if shutil.which("openssl") else "openssl is not installed"


def make_certificates(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a hospital's root certificate (PEM), and the context of a server whose certificate it has signed."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Hospital")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={HOST}")
    (folder / "names.txt").write_text(f"subjectAltName=DNS:{HOST},IP:127.0.0.1\n")
    signer = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
    named = ("-days", "2", "-extfile", "names.txt")
    openssl("x509", "-req", "-in", "server.csr", *signer, "-out", "server.pem", *named)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return folder / "ca.pem", context
