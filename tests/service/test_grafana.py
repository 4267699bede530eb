"""`driftbell grafana setup` against a strict fake of Grafana's HTTP API."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.service.fake_grafana import PASSWORD, TOKEN, USER, Grafana, fake_grafana

from driftbell.errors import ConfigError
from driftbell.ops import grafana as program

SECRETS = (TOKEN, PASSWORD, "wrong-secret")
PROMETHEUS, LOKI = "http://prometheus:9090", "http://loki:3100"
UIDS = {"driftbell-health", "driftbell-drift"}


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    with fake_grafana() as fake:
        yield fake


def run(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, and check that its output has no secret."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DRIFTBELL_", "GRAFANA_"))}
    done = subprocess.run(
        [sys.executable, "-m", "driftbell", "grafana", "setup", *args],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment | variables,
        stdin=subprocess.DEVNULL,
    )
    assert not [s for s in SECRETS if s in done.stdout + done.stderr]
    return done


def setup(grafana: Grafana, wait: float = 5, prometheus_url: str = PROMETHEUS) -> dict[str, str]:
    """Call the function behind the command; return the actions by uid."""
    done = program.setup(grafana.url, auth=TOKEN, prometheus_url=prometheus_url, loki_url=LOKI, wait=wait)
    return {f"{d.kind} {d.uid}": d.what for d in done}


def refusal(grafana: Grafana, wait: float = 5) -> str:
    with pytest.raises(ConfigError) as caught:
        setup(grafana, wait)
    return str(caught.value)


def test_the_command_sets_up_everything_and_is_idempotent(grafana: Grafana) -> None:
    first = run("--url", grafana.url, GRAFANA_TOKEN=TOKEN)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines() == [
        f"datasource Prometheus: created ({PROMETHEUS})",
        f"datasource Loki: created ({LOKI})",
        "folder driftbell: created",
        "dashboard ML Service Health: created (/d/driftbell-health/x)",
        "dashboard Model Drift: created (/d/driftbell-drift/x)",
    ]
    assert {u: (d["type"], d["url"]) for u, d in grafana.datasources.items()} == {
        "prometheus": ("prometheus", PROMETHEUS),
        "loki": ("loki", LOKI),
    }
    assert grafana.dashboards.keys() == UIDS
    assert {d["folderUid"] for d in grafana.dashboards.values()} == {"driftbell"}
    writes = list(grafana.writes)
    second = run("--url", grafana.url, "--json", GRAFANA_TOKEN=TOKEN)
    assert second.returncode == 0
    assert {d["what"] for d in json.loads(second.stdout)} == {"unchanged"}
    assert grafana.writes == writes


def test_a_user_logs_in_with_a_password_from_the_environment_or_a_file(
    grafana: Grafana, tmp_path: Path
) -> None:
    assert run("--url", grafana.url, GRAFANA_PASSWORD=PASSWORD).returncode == 0
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    done = run(
        "--url", grafana.url, "--user", USER, "--password-file", str(secret), GRAFANA_TOKEN="wrong-secret"
    )
    assert done.returncode == 0
    assert "Prometheus: unchanged" in done.stdout


def test_a_token_comes_from_a_file(grafana: Grafana, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text(f"{TOKEN}\n")
    assert run("--url", grafana.url, "--token-file", str(secret)).returncode == 0


@pytest.mark.parametrize(
    ("args", "variables", "words"),
    [
        (
            [],
            {"GRAFANA_TOKEN": "wrong-secret"},
            "refuses the user name and password or token (Invalid API key)",
        ),
        ([], {"GRAFANA_PASSWORD": "wrong-secret"}, "(Invalid username or password)"),
        ([], {}, "set GRAFANA_TOKEN or GRAFANA_PASSWORD"),
        ([], {"GRAFANA_TOKEN": "wrong-secret\nX-Other: 1"}, "control character"),
        ([], {"GRAFANA_TOKEN": "wrong-secret-ü"}, "not ASCII"),
        (["--token-file", "nowhere"], {}, "cannot read the secret in nowhere: FileNotFoundError"),
        (
            ["--url", "http://admin:wrong-secret@127.0.0.1:3000"],
            {"GRAFANA_TOKEN": TOKEN},
            "--url contains a user name",
        ),
        (["--url", "127.0.0.1:3000"], {"GRAFANA_TOKEN": TOKEN}, "--url must be like http://"),
        (["--ca-file", "nowhere"], {"GRAFANA_TOKEN": TOKEN}, "cannot read certificates from nowhere"),
    ],
)
def test_invalid_credentials_and_arguments_are_clear_errors(
    grafana: Grafana, args: list[str], variables: dict[str, str], words: str
) -> None:
    done = run("--url", grafana.url, *args, **variables)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert grafana.writes == []


def test_an_account_without_permission_gets_the_required_role(grafana: Grafana) -> None:
    grafana.editor = True
    assert "use an account with the role Admin" in refusal(grafana)


def test_it_waits_while_grafana_starts(grafana: Grafana) -> None:
    grafana.starting = time.monotonic() + 1.2
    assert set(setup(grafana, wait=20).values()) == {"created"}
    assert grafana.requests.count("GET /api/health") > 1


def test_it_waits_while_nothing_listens_yet() -> None:
    port = free_port()
    results: list[dict[str, str]] = []
    waiting = threading.Thread(target=lambda: results.append(setup(Grafana(f"http://127.0.0.1:{port}"), 20)))
    waiting.start()
    time.sleep(0.7)  # the first question meets a closed port
    with fake_grafana(port):
        waiting.join(20)
    assert [set(f.values()) for f in results] == [{"created"}]


def test_an_invalid_wait_is_refused() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run("--url", url, "--wait", "nan", GRAFANA_TOKEN=TOKEN)
    assert (done.returncode, done.stdout) == (2, "")
    assert "was not ready" in done.stderr


@contextlib.contextmanager
def answering(*pieces: bytes) -> Iterator[str]:
    """A server that sends pieces, then one byte at a time without end."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.recv(65536)
                        for piece in pieces:
                            connection.sendall(piece)
                        while not over.wait(0.1):
                            connection.sendall(b" ")

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        over.set()
        server.shutdown(socket.SHUT_RDWR)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("pieces", [(HEAD, b"Content-Length: 100000\r\n\r\n"), (HEAD, b"X-Long: ")])
def test_an_endless_answer_times_out(pieces: tuple[bytes, ...]) -> None:
    with answering(*pieces) as url:
        done = run("--url", url, "--wait", "1", GRAFANA_TOKEN=TOKEN)
    assert (done.returncode, done.stdout) == (2, "")
    assert "was not ready within 1 s: no answer in time" in done.stderr


def test_an_undecodable_answer_is_a_clear_error() -> None:
    with answering(HEAD, b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello") as url:
        done = run("--url", url, "--wait", "1", GRAFANA_TOKEN=TOKEN)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "was not ready" in done.stderr


def test_after_the_deadline_the_error_has_the_last_answer(grafana: Grafana) -> None:
    grafana.starting = time.monotonic() + 60
    assert refusal(grafana, wait=0.6).endswith(
        "not ready within 0.6 s: GET /api/health answers 503 (failing); is --url right?"
    )
    grafana.starting = 0
    grafana.forced["GET /api/health"] = (502, "text/html", b"<h1>Bad Gateway</h1>")
    assert "answers 502 (a page of text/html, not Grafana's JSON)" in refusal(grafana, wait=0)
    done = run("--url", f"http://127.0.0.1:{free_port()}", "--wait", "0", GRAFANA_TOKEN=TOKEN)
    assert done.returncode == 2
    assert "was not ready within 0 s: " in done.stderr
    assert "refused" in done.stderr


@pytest.mark.parametrize("path", ["GET /api/health", "GET /api/folders/driftbell", "POST /api/dashboards/db"])
def test_an_answer_that_is_not_json_is_not_grafana(grafana: Grafana, path: str) -> None:
    grafana.forced[path] = (200, "text/html", b"<h1>Log in to our proxy</h1>")
    assert "answers text/html instead of Grafana's JSON: is the URL right?" in refusal(grafana)


def test_a_404_of_a_proxy_does_not_count_as_missing(grafana: Grafana) -> None:
    grafana.forced["GET /api/datasources/uid/prometheus"] = (404, "text/html", b"<h1>Not Found</h1>")
    assert "instead of Grafana's JSON" in refusal(grafana)
    assert grafana.writes == []


def test_a_redirect_is_not_followed_but_reported(grafana: Grafana) -> None:
    grafana.redirect = "https://grafana.example/login"
    assert "redirects to https://grafana.example/login: use the final URL as --url" in refusal(grafana)
    assert grafana.requests == ["GET /api/health"]


@pytest.mark.parametrize(
    "path",
    [
        "GET /api/datasources/uid/prometheus",
        "POST /api/datasources",
        "GET /api/folders/driftbell",
        "POST /api/folders",
        "GET /api/dashboards/uid/driftbell-health",
        "POST /api/dashboards/db",
    ],
)
def test_every_answer_is_checked(grafana: Grafana, path: str) -> None:
    grafana.forced[path] = (500, "application/json", b'{"message": "disk full"}')
    assert f"{path} was answered 500: disk full" in refusal(grafana)


def test_a_different_datasource_is_updated_and_keeps_fields_of_others(grafana: Grafana) -> None:
    setup(grafana)
    grafana.datasources["prometheus"] |= {
        "url": "http://old:9090",
        "basicAuth": True,
        "name": "Ours",
        "jsonData": {"timeInterval": "5s", "httpMethod": "POST", "manageAlerts": False},
    }
    done = setup(grafana, prometheus_url="http://new:9090")
    assert done["datasource prometheus"] == "updated"
    assert set(done.values()) == {"updated", "unchanged"}
    datasource = grafana.datasources["prometheus"]
    assert (datasource["url"], datasource["name"], datasource["basicAuth"]) == (
        "http://new:9090",
        "Ours",
        True,
    )
    assert datasource["jsonData"] == {"timeInterval": "5s", "httpMethod": "POST", "manageAlerts": False}
    assert set(setup(grafana, prometheus_url="http://new:9090").values()) == {"unchanged"}


def test_provisioned_objects_are_not_changed(grafana: Grafana) -> None:
    setup(grafana)
    for datasource in grafana.datasources.values():
        datasource |= {"readOnly": True, "url": "http://elsewhere:1"}
    grafana.provisioned = set(UIDS)
    writes = list(grafana.writes)
    done = run("--url", grafana.url, GRAFANA_TOKEN=TOKEN)
    assert done.returncode == 0
    assert done.stdout.count("left alone (provisioned by a file") == 4
    assert grafana.writes == writes


def test_a_dashboard_that_cannot_be_saved_is_not_changed(grafana: Grafana) -> None:
    body = json.dumps({"message": "Cannot save provisioned dashboard"}).encode()
    grafana.forced["POST /api/dashboards/db"] = (400, "application/json", body)
    assert setup(grafana)["dashboard driftbell-health"] == "left alone"
    body = json.dumps({"message": "Dashboard refresh interval is too low"}).encode()
    grafana.forced["POST /api/dashboards/db"] = (400, "application/json", body)
    assert "'ML Service Health': Dashboard refresh interval is too low" in refusal(grafana)


def test_a_datasource_of_the_same_name_under_another_uid_is_named(grafana: Grafana) -> None:
    grafana.datasources["P1809F7CD0C75ACF3"] = {"name": "Prometheus", "type": "prometheus"}
    message = refusal(grafana)
    assert "already exists" in message
    assert "rename that one" in message
    grafana.datasources = {"prometheus": {"name": "Other", "type": "influxdb", "readOnly": False}}
    assert "of the type 'influxdb'" in refusal(grafana)


@pytest.mark.parametrize("status", [409, 412])
def test_a_folder_created_concurrently_is_accepted(grafana: Grafana, status: int) -> None:
    taken = json.dumps({"message": "a folder with that name already exists"}).encode()
    grafana.forced["POST /api/folders"] = (status, "application/json", taken)
    assert "folder 'driftbell' under another uid" in refusal(grafana)
    grafana.folders["driftbell"] = {"uid": "driftbell", "title": "driftbell"}
    assert setup(grafana)["folder driftbell"] == "unchanged"


def test_an_edited_or_moved_dashboard_is_restored(grafana: Grafana) -> None:
    setup(grafana)
    grafana.dashboards["driftbell-health"]["dashboard"]["panels"].pop()
    grafana.dashboards["driftbell-drift"]["folderUid"] = ""
    done = setup(grafana)
    assert {done["dashboard driftbell-health"], done["dashboard driftbell-drift"]} == {"updated"}
    assert set(setup(grafana).values()) == {"unchanged"}
    assert grafana.dashboards["driftbell-health"]["dashboard"]["version"] == 2


def test_an_unknown_certificate_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = HTTPServer(("127.0.0.1", 0), _Starting)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    url = f"https://127.0.0.1:{server.server_port}"
    try:
        unknown = run("--url", url, "--wait", "30", GRAFANA_TOKEN=TOKEN)
        known = run("--url", url, "--wait", "0", "--ca-file", str(tmp_path / "ca.pem"), GRAFANA_TOKEN=TOKEN)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert unknown.returncode == known.returncode == 2
    assert "the TLS connection failed" in unknown.stderr
    assert "--ca-file" in unknown.stderr
    assert "answers 503 (failing)" in known.stderr


class _Starting(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"database": "failing"}')

    def log_message(self, *_: object) -> None:
        pass
