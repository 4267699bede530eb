"""The command line: exit codes, messages, JSON."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.command_line import driftbell
from tests.conftest import with_models


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "before.csv").write_text(
        "age,plan\n" + "\n".join(f"{i % 50},{'ab'[i % 2]}" for i in range(200))
    )
    (tmp_path / "same.csv").write_text(
        "age,plan\n" + "\n".join(f"{i % 50},{'ab'[i % 2]}" for i in range(100))
    )
    (tmp_path / "older.csv").write_text(
        "age,plan\n" + "\n".join(f"{i % 50 + 30},{'ab'[i % 2]}" for i in range(100))
    )
    (tmp_path / "few.csv").write_text("age,plan\n1,a\n")
    return tmp_path


@pytest.mark.parametrize(
    ("current", "code", "word"),
    [("same.csv", 0, "OK"), ("older.csv", 1, "WARNING"), ("few.csv", 3, "UNKNOWN")],
)
def test_check_of_two_files_exits_by_verdict(tables: Path, current: str, code: int, word: str) -> None:
    done = driftbell("check", "before.csv", current, cwd=tables)
    assert (done.returncode, done.stdout.split()[0]) == (code, word)
    assert done.stderr == ""


def test_check_prints_json(tables: Path) -> None:
    result = json.loads(driftbell("check", "before.csv", "older.csv", "--json", cwd=tables).stdout)
    assert result["verdict"] == "warning"
    assert [c["comparison"]["column"] for c in result["columns"] if c["drifted"]] == ["age"]


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("check", "before.csv"), "two"),
        (("check", "before.csv", "missing.csv"), "missing.csv"),
        (("check", "before.csv", "before.xlsx"), ".csv or .parquet"),
        (("frobnicate",), "frobnicate"),
        (("up", "--every", "5"), "check.every"),
        (("serve", "--port", "70000"), "server.port"),
        (("config", "--config", "nowhere.toml"), "nowhere.toml"),
        (("simulate", "--fault", "shfit:x=1"), "shift"),
        (("simulate", "--url", "http://127.0.0.1:9", "--normal", "1"), "driftbell up"),
    ],
)
def test_usage_errors_exit_2_and_say_what_is_wrong(tables: Path, args: tuple[str, ...], word: str) -> None:
    done = driftbell(*args, cwd=tables)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.slow
def test_check_and_report_on_an_empty_log_cannot_judge(tmp_path: Path) -> None:
    with_models(tmp_path / "data")
    done = driftbell("check", "--data-dir", "data", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "UNKNOWN  Cannot judge: needs 10, has 0 predictions.\n")
    done = driftbell("report", "page.html", "--data-dir", "data", cwd=tmp_path)
    assert done.returncode == 3
    assert "Cannot judge: needs 10" in (tmp_path / "page.html").read_text("utf-8")


def test_config_shows_values_and_their_sources(tmp_path: Path) -> None:
    (tmp_path / "driftbell.toml").write_text("[window]\nrows = 300\n")
    result = json.loads(
        driftbell("config", "--json", "--data-dir", "here", cwd=tmp_path, CHECK__EVERY="1m").stdout
    )
    assert result["window.rows"] == {"value": 300, "source": "driftbell.toml"}
    assert result["check.every"] == {"value": "1m", "source": "environment, DRIFTBELL_CHECK__EVERY"}
    assert result["data_dir"] == {"value": "here", "source": "command line"}
    assert result["server.port"] == {"value": 8000, "source": "default"}


def test_unknown_setting_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    done = driftbell("up", cwd=tmp_path, CHECK__EVRY="1m")
    assert done.returncode == 2
    assert "did you mean 'check.every'?" in done.stderr


def test_a_crash_never_exits_with_the_code_of_drift(tables: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "driftbell", "check", "before.csv", "same.csv"],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=tables,
            timeout=90,
        )
    assert done.returncode not in (0, 1)


def test_a_port_in_use_is_a_configuration_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for args in (("serve", "--data-dir", "data"), ("demo", "--exit")):
            done = driftbell(*args, "--port", port, cwd=tmp_path)
            assert done.returncode != 0
            assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr + done.stdout
    assert not (tmp_path / "data" / "models").exists()


def test_kubernetes_links_to_a_service_of_our_name_are_not_settings(tmp_path: Path) -> None:
    done = driftbell(
        "config", cwd=tmp_path, SERVICE_HOST="10.0.0.1", PORT="tcp://10.0.0.1:8000", PORT_8000_TCP="x"
    )
    assert done.returncode == 0, done.stderr


def test_alerts_test_with_nobody_to_tell_is_an_error(tmp_path: Path) -> None:
    done = driftbell("notify", "test", cwd=tmp_path)
    assert done.returncode == 2
    assert "set notifications.urls or notifications.urls_file" in done.stderr


def test_no_command_shows_the_secret_of_an_alerts_url(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("slack://hunter2\n")
    for args, settings in (
        (("config",), {"NOTIFICATIONS__URLS": "json://hunter2/"}),
        (("config", "--json"), {"NOTIFICATIONS__URLS": "json://hunter2/"}),
        (("config",), {"NOTIFICATIONS__URLS": "hunter2"}),
        (("notify", "test"), {"NOTIFICATIONS__URLS": "slack://hunter2"}),
        (("monitor",), {"NOTIFICATIONS__URLS_FILE": "urls.txt"}),
    ):
        done = driftbell(*args, cwd=tmp_path, **settings)
        assert "hunter2" not in done.stdout + done.stderr
        assert "(1 set)" in done.stdout or done.returncode == 2
        assert "(1 set)" in done.stdout or "notifications.urls" in done.stderr


def test_commands_that_call_the_service_call_the_one_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "driftbell.toml").write_text("[server]\nport = 1\n", "utf-8")
    stack = [word for name in ("prometheus", "loki", "grafana", "reports") for word in (f"--{name}", "off")]
    assert "nothing answers at http://127.0.0.1:1;" in driftbell("doctor", *stack, cwd=tmp_path).stdout
    done = driftbell("simulate", "--normal", "1", "--drifted", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "http://127.0.0.1:1" in done.stderr


def test_the_tables_of_a_log_are_brought_up_to_date_once(tmp_path: Path) -> None:
    first, second = (driftbell("db", "upgrade", "--data-dir", "data", cwd=tmp_path) for _ in range(2))
    assert first.stdout.endswith("upgraded from an empty database\n")
    assert second.stdout.endswith("already up to date\n")
    assert (tmp_path / "data" / "log.sqlite").is_file()


def test_a_log_in_a_database_is_not_backed_up_as_a_file(tmp_path: Path) -> None:
    for verb in ("backup", "restore"):
        done = driftbell(verb, "saved", cwd=tmp_path, LOG__URL="postgresql://me:hunter2@127.0.0.1:1/log")
        assert (done.returncode, done.stdout) == (2, "")
        assert "pg_dump" in done.stderr
        assert "hunter2" not in done.stderr


def test_the_error_of_an_unreachable_database_hides_the_password(tmp_path: Path) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/log"
    done = driftbell("db", "upgrade", cwd=tmp_path, LOG__URL=url)
    assert done.returncode == 2
    assert done.stderr.startswith("driftbell: the prediction log cannot be used: Can't create a connection")
    assert "hunter2" not in done.stderr
    output = driftbell("config", cwd=tmp_path, LOG__URL=url).stdout
    assert "(set)" in output
    assert "hunter2" not in output


@pytest.mark.parametrize(
    ("arguments", "redirection", "code"),
    [
        ("check same.csv same.csv", ">/dev/full", 3),
        ("check same.csv same.csv", "| true", 2),
        ("check same.csv same.csv", ">&- 2>&- <&-", 0),
        ("check missing.csv same.csv", "2>/dev/full", 2),
        ("check missing.csv same.csv", "2>&-", 2),
    ],
)
def test_output_that_cannot_be_written_is_no_drift_and_no_crash(
    tmp_path: Path, arguments: str, redirection: str, code: int
) -> None:
    (tmp_path / "same.csv").write_text("x\n" + "\n".join(str(n % 7) for n in range(300)))
    command = f"{sys.executable} -m driftbell {arguments} {redirection}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)


def test_a_closed_standard_stream_is_no_place_for_another_file(tmp_path: Path) -> None:
    program = (
        "from driftbell.cli import root; root._open_standard_streams(); import os, sys; "
        "assert os.open(os.devnull, os.O_RDONLY) > 2 and sys.stdout and sys.stderr and sys.stdin"
    )
    done = subprocess.run(["bash", "-c", f"{sys.executable} -c '{program}' >&- 2>&- <&-"], cwd=tmp_path)
    assert done.returncode == 0
