"""The TLS proxy: nginx with deploy/nginx/tls.conf in front of a service, with our certificates."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from tests.conftest import EXAMPLE, Running, running, wait_until
from tests.ports import free_port
from tests.stack.nginx import Nginx, needs_nginx, nginx

from driftbell.config import settings as config
from driftbell.ops.certs import DevCertificates, dev_certificates

pytestmark = [pytest.mark.service, needs_nginx]


class Echo(http.server.BaseHTTPRequestHandler):
    """Echoes the request, and after an upgrade each line."""

    def do_GET(self) -> None:
        if self.headers["Upgrade"] and self.headers["Connection"] == "upgrade":
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "upgrade")
            self.end_headers()
            self.wfile.write(self.rfile.readline())
            return
        body = json.dumps(
            {"port": self.connection.getsockname()[1], "path": self.path, **self.headers}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def echo() -> Iterator[int]:
    """Run an echo server; yield its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> DevCertificates:
    folder = tmp_path_factory.mktemp("tls") / "certs"
    return dev_certificates(folder, hosts=["box.test", "reports.box.test"], now=datetime.now(UTC))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("serve", tmp_path_factory.mktemp("served"), SERVER__TRUSTED_PROXIES="127.0.0.1") as service:
        yield service


@pytest.fixture(scope="module")
def echoes() -> Iterator[tuple[int, int]]:
    with echo() as reports, echo() as grafana:
        yield reports, grafana


@pytest.fixture(scope="module")
def front(
    tmp_path_factory: pytest.TempPathFactory,
    certs: DevCertificates,
    served: Running,
    echoes: tuple[int, int],
) -> Iterator[Nginx]:
    moved = {
        "/certs/": f"{certs.key.parent}/",
        "ml_service:8000": served.url.removeprefix("http://"),
        "report_server:8080": f"127.0.0.1:{echoes[0]}",
        "grafana:3000": f"127.0.0.1:{echoes[1]}",
    }
    with nginx("tls.conf", tmp_path_factory.mktemp("front"), moved) as server:
        yield server


@pytest.fixture
def client(front: Nginx, certs: DevCertificates) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=front.tls, verify=trusting(certs)) as session:
        yield session


def trusting(certs: DevCertificates, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certs.authority)
    context.set_alpn_protocols(list(protocols) or ["http/1.1"])
    return context


def connected(front: Nginx, context: ssl.SSLContext, host: str = "localhost") -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", front.ports[8443]), timeout=10)
    return context.wrap_socket(plain, server_hostname=host)


def test_predictions_are_the_same_through_tls(client: httpx.Client, served: Running) -> None:
    through = client.post("/predict", json=EXAMPLE, headers={"X-Request-ID": "asked-1"})
    direct = httpx.post(f"{served.url}/predict", json=EXAMPLE)
    assert through.status_code == 200
    own = {"prediction_id", "id"}
    assert {k: v for k, v in through.json().items() if k not in own} == {
        k: v for k, v in direct.json().items() if k not in own
    }
    assert through.json()["class"] == "setosa"
    assert through.headers["X-Request-ID"] == "asked-1"
    assert client.get("/health").json() == httpx.get(f"{served.url}/health").json()
    assert client.post("/predict", json={}).status_code == 422


def test_the_service_sees_https(client: httpx.Client) -> None:
    assert client.get("/health/").headers["Location"] == f"{client.base_url}/health"


def test_large_bodies_are_refused_as_by_the_service(client: httpx.Client, served: Running) -> None:
    headers = {"Content-Type": "application/json"}
    most = config.Settings().server.body_limit
    for size, status in ((most, 400), (most + 1, 413), (5 * most, 413)):
        answer = client.post("/predict", content=b"[" * size, headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_http_2_is_negotiated_and_old_tls_refused(front: Nginx, certs: DevCertificates) -> None:
    with connected(front, trusting(certs, "h2", "http/1.1")) as both:
        assert both.selected_alpn_protocol() == "h2"
        assert both.version() == "TLSv1.3"
    context = trusting(certs)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connected(front, context) as older:
        assert older.version() == "TLSv1.2"
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol version"):
        connected(front, context)


def test_certificate_names_every_host_and_no_other(front: Nginx, certs: DevCertificates) -> None:
    for host in ("localhost", "reports.localhost", "grafana.localhost", "127.0.0.1", "::1", "box.test"):
        connected(front, trusting(certs), host).close()
    with pytest.raises(ssl.SSLCertVerificationError):
        connected(front, trusting(certs), "elsewhere.test")


def test_plain_http_is_sent_to_https_with_path_and_query(front: Nginx) -> None:
    answer = httpx.post(f"{front.url}/predict/batch?a=1&b=%20x", headers={"Host": "box.test:80"}, json=[])
    assert answer.status_code == 308
    assert answer.headers["Location"] == "https://box.test/predict/batch?a=1&b=%20x"
    assert "Strict-Transport-Security" not in answer.headers


def test_strict_transport_security_except_on_localhost(client: httpx.Client) -> None:
    for host in ("localhost", "reports.localhost", "grafana.localhost:443"):
        assert "Strict-Transport-Security" not in client.get("/health", headers={"Host": host}).headers
    for host in ("box.test", "reports.box.test", "mylocalhost"):
        answer = client.get("/health", headers={"Host": host})
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_host_names_select_reports_and_grafana(client: httpx.Client, echoes: tuple[int, int]) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent = {"Host": "reports.box.test:8443", "traceparent": trace, "X-Forwarded-For": "10.1.1.1"}
    got = client.get("/a%20b?c=/../d", headers=sent).json()
    assert (got["port"], got["path"]) == (echoes[0], "/a%20b?c=/../d")
    assert got["Host"] == got["X-Forwarded-Host"] == "reports.box.test:8443"
    assert (got["X-Forwarded-Proto"], got["X-Forwarded-For"]) == ("https", "127.0.0.1")
    assert got["traceparent"] == trace
    assert client.get("/", headers={"Host": "grafana.localhost"}).json()["port"] == echoes[1]


def test_grafana_receives_web_sockets(front: Nginx, certs: DevCertificates) -> None:
    with connected(front, trusting(certs)) as connection:
        upgrade = "Host: grafana.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        connection.sendall(f"GET /api/live/ws HTTP/1.1\r\n{upgrade}".encode())
        answers = connection.makefile("rb")
        assert answers.readline().startswith(b"HTTP/1.1 101 ")
        while answers.readline() != b"\r\n":
            pass
        connection.sendall(b"hello\n")
        assert answers.readline() == b"hello\n"


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "//metrics",
        "/%6Detrics",
        "/x/../metrics",
        "/x/..%2Fmetrics",
        "/metrics?a",
        "/monitor/alertmanager",
    ],
)
def test_internal_addresses_are_not_served(front: Nginx, certs: DevCertificates, path: str) -> None:
    for host in ("localhost", "grafana.localhost"):
        with connected(front, trusting(certs)) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        assert answer.startswith("HTTP/1.1 404 ")
        assert "internal to the stack" in answer


def test_a_service_that_is_down_is_a_json_problem(certs: DevCertificates, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    moved = {"/certs/": f"{certs.key.parent}/", "ml_service:8000": address}
    with nginx("tls.conf", tmp_path, moved) as server:
        answer = httpx.post(f"{server.tls}/predict", json=EXAMPLE, verify=trusting(certs))
        assert answer.status_code == 502
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json() == {
            "type": "about:blank",
            "title": "Bad Gateway",
            "status": 502,
            "detail": f"{address} does not answer: is it running?",
        }
        wait_until(server.requests)
        line = server.requests()[-1]
    assert (line["level"], line["status"], line["host"], line["uri"]) == (
        "ERROR",
        502,
        "localhost",
        "/predict",
    )


@contextlib.contextmanager
def docker_dns(known: bytes) -> Iterator[int]:
    """Answer like Docker's DNS that one name is at 127.0.0.1 and no other exists; yield the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                question, sender = server.recvfrom(512)
                if not question:
                    return
                known_name = question[12:].startswith(known)
                counts = b"\x81\x80\0\1\0\1\0\0\0\0" if known_name else b"\x81\x83\0\1\0\0\0\0\0\0"
                record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\x7f\0\0\1" if known_name else b""
                server.sendto(question[:2] + counts + question[12:] + record, sender)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.sendto(b"", server.getsockname())  # the end, for the thread
            thread.join(10)


def test_names_are_resolved_at_each_request(certs: DevCertificates, tmp_path: Path) -> None:
    with echo() as port, docker_dns(b"\x07grafana\0") as dns:
        moved = {
            "/certs/": f"{certs.key.parent}/",
            "grafana:3000": f"grafana:{port}",
            "resolver 127.0.0.11": f"resolver 127.0.0.1:{dns}",
        }
        with nginx("tls.conf", tmp_path, moved) as server, httpx.Client(verify=trusting(certs)) as client:
            there = client.get(server.tls, headers={"Host": "grafana.localhost"})
            assert there.json()["port"] == port
            absent = client.get(f"{server.tls}/health")
    assert absent.status_code == 502
    assert absent.json()["detail"] == "ml_service:8000 does not answer: is it running?"


def test_log_lines_have_the_request_id_of_the_service(front: Nginx, client: httpx.Client) -> None:
    client.get("/health", headers={"X-Request-ID": "seen-in-both"})
    wait_until(lambda: "seen-in-both" in [line["request_id"] for line in front.requests()])
