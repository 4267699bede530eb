"""The doctor where a component does not answer, or not as it should: a sentence of its own for each."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import trustme
from tests.ports import free_port
from tests.unit.ops.test_doctor import LOKI, NOTHING, PROMETHEUS, look, only, serving

from driftbell.ops.stack import Stack, State


@contextlib.contextmanager
def raw(answer: bytes, *, drip: bool = False) -> Iterator[str]:
    """Listen, read a little, send bytes (one a moment if they shall drip), and keep the connection open."""
    over = threading.Event()

    def talk(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(100)
            for piece in [answer[i : i + 1] for i in range(len(answer))] if drip else [answer]:
                connection.sendall(piece)
                if over.wait(0.1 if drip else 0):
                    return
            if answer and not drip:
                return
            over.wait(20)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_refused_unknown_and_no_http_are_different_sentences() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    (refused,) = look(replace(NOTHING, loki=nowhere))
    assert refused.message == f"nothing answers at {nowhere}"
    assert "--loki" in refused.fix
    (unknown,) = look(replace(NOTHING, loki="http://no-such-host.invalid:3100"))
    assert unknown.message == "the host 'no-such-host.invalid' cannot be resolved"
    with raw(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        (other,) = look(replace(NOTHING, loki=url))
    assert other.message == f"the server at {url} does not speak HTTP"


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "dripping"])
def test_a_component_that_hangs_times_out_and_the_others_are_reported(drip: bool) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000 if drip else b""
    with raw(answer, drip=drip) as hanging, serving(PROMETHEUS) as fake:
        stack = Stack(hanging, fake.url, hanging, hanging, hanging, hanging)
        result = look(stack, seconds=2)
    assert only(result, "scrape").state is State.OK
    silent = [f for f in result if f.state is State.WRONG]
    assert len(silent) == 4
    assert {f.message.partition(" did")[2] for f in silent} == {" not answer within 2 s"}


def test_an_untrusted_certificate_and_a_port_without_tls_are_reported() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with serving(LOKI, context) as fake:
        (untrusted,) = look(replace(NOTHING, loki=fake.url))
    with serving(LOKI) as fake:
        (plain,) = look(replace(NOTHING, loki=fake.url.replace("http:", "https:")))
    for result in (untrusted, plain):
        assert result.message.startswith("no TLS connection to https://127.0.0.1:")
        assert "SSL_CERT_FILE" in result.fix
    assert "verify failed" in untrusted.message
