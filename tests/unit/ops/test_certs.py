"""Development certificates: what is written, who may read it, what is refused."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from driftbell.cli import cli
from driftbell.errors import ConfigError
from driftbell.ops.certs import HOSTS, dev_certificates

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_three_files_that_belong_together(tmp_path: Path) -> None:
    made = dev_certificates(tmp_path / "certs", hosts=["box.lan", "*.box.lan", "10.0.0.7"], now=NOW)
    assert sorted(p.name for p in (tmp_path / "certs").iterdir()) == ["ca.crt", "tls.crt", "tls.key"]
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate, made.key)
    client = ssl.create_default_context(cafile=made.authority)
    assert client.cert_store_stats()["x509_ca"] == 1
    decoded = ssl._ssl._test_decode_cert(str(made.certificate))  # type: ignore[attr-defined]
    assert made.hosts == (*HOSTS, "box.lan", "*.box.lan", "10.0.0.7")
    assert len(decoded["subjectAltName"]) == len(made.hosts)
    assert ("DNS", "*.box.lan") in decoded["subjectAltName"]
    assert decoded["notAfter"] == "Mar  1 12:00:00 2027 GMT"
    assert made.until == NOW + timedelta(days=365)


def test_only_its_owner_enters_the_folder_and_the_proxy_reads_the_files(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        made = dev_certificates(tmp_path / "certs", now=NOW)
    finally:
        os.umask(before)
    assert made.key.parent.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in made.key.parent.iterdir()} == {0o644}


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
def test_no_file_is_overwritten(tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=f"files exist: .*{name}; remove"):
        dev_certificates(tmp_path, now=NOW)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_an_open_folder_gets_no_key(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match=f"chmod 700 {tmp_path}"):
        dev_certificates(tmp_path, now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write certificates to .*file: File exists"):
        dev_certificates(tmp_path / "file", now=NOW)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "https://box",
        "box:443",
        "a b",
        "me@box",
        "10.0.0.0/8",
        "10.0.0.999",
        "a..b",
        "-",
        f"{'a' * 64}.de",
        "a_b",
    ],
)
def test_what_is_no_host_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="--host: "):
        dev_certificates(tmp_path / "certs", hosts=[host], now=NOW)
    assert not (tmp_path / "certs").exists()


def test_without_trustme_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ConfigError, match=r"pip install 'driftbell\[certs\]'"):
        dev_certificates(tmp_path / "certs", now=NOW)


def test_command_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["certs", "dev", "--host", "box.lan"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "box.lan, valid until 20" in done.output
    assert "\n  docker compose --profile tls up --build -d\n" in done.output
    assert "curl --cacert certs/ca.crt https://localhost/health" in done.output
    other = CliRunner().invoke(cli, ["certs", "dev", "other"], catch_exceptions=False)
    assert "\n  CERTS=other docker compose" in other.output
    again = subprocess.run(
        [sys.executable, "-m", "driftbell", "certs", "dev"], capture_output=True, text=True, timeout=60
    )
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("driftbell: files exist: certs/tls.crt")
