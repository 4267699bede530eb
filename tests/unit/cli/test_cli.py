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

from driftbell.cli.root import FAIL_ON, exit_code
from driftbell.config.settings import Settings
from driftbell.records import ColumnComparison, ColumnVerdict, Degradation, Judgement, Kind, Scope, Verdict
from driftbell.wiring.store import open_store


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


@pytest.mark.parametrize(
    ("fail_on", "current", "code"),
    [("alarm", "older.csv", 0), ("never", "older.csv", 0), ("never", "few.csv", 3)],
)
def test_fail_on_sets_the_exit_code_of_drift_only(
    tables: Path, fail_on: str, current: str, code: int
) -> None:
    assert driftbell("check", "before.csv", current, "--fail-on", fail_on, cwd=tables).returncode == code


@pytest.mark.parametrize(
    ("verdict", "degradation", "codes"),
    [
        (Verdict.ALARM, Verdict.ALARM, {"drift": 1, "alarm": 1, "never": 0}),
        (Verdict.WARNING, Verdict.OK, {"drift": 1, "alarm": 0, "never": 0}),
        (Verdict.WARNING, Verdict.UNKNOWN, {"drift": 1, "alarm": 3, "never": 0}),
        (Verdict.UNKNOWN, Verdict.UNKNOWN, {"drift": 3, "alarm": 3, "never": 3}),
        (Verdict.OK, None, {"drift": 0, "alarm": 0, "never": 0}),
    ],
)
def test_exit_codes_of_judgements(
    verdict: Verdict, degradation: Verdict | None, codes: dict[str, int]
) -> None:
    comparison = ColumnComparison("age", "feature", Kind.NUMERIC, 0.0, (), None)
    columns = (ColumnVerdict(comparison, Verdict.WARNING, 0.0, 0.05, "Drift.", drifted=True),)
    judgement = Judgement(
        verdict,
        "",
        columns if verdict is Verdict.WARNING else (),
        Degradation(degradation, "") if degradation else None,
    )
    assert {fail_on: exit_code(judgement, fail_on) for fail_on in FAIL_ON} == codes


def test_drift_does_not_hide_a_missing_column_from_fail_on_alarm() -> None:
    missing = ColumnComparison("size", "feature", Kind.NUMERIC, 1.0, (), None, scope=Scope.INCOMPLETE)
    drifted = ColumnComparison("age", "feature", Kind.NUMERIC, 0.0, (), None)
    columns = (
        ColumnVerdict(missing, Verdict.UNKNOWN, None, 0.05, "Not compared.", False),
        ColumnVerdict(drifted, Verdict.WARNING, 0.0, 0.05, "Drift.", drifted=True),
    )
    judgement = Judgement(Verdict.WARNING, "", columns)
    assert [exit_code(judgement, fail_on) for fail_on in FAIL_ON] == [1, 3, 0]


@pytest.mark.parametrize("setting", ['exclude = ["age"]', 'exclude = ["a*"]', 'include = ["plan"]'])
def test_a_column_that_an_option_names_is_read_although_the_settings_leave_it_out(
    tables: Path, setting: str
) -> None:
    (tables / "driftbell.toml").write_text(f"[columns]\n{setting}\n")
    checked = driftbell("check", "before.csv", "same.csv", "--prediction", "age", "--json", cwd=tables)
    assert "age" in [c["comparison"]["column"] for c in json.loads(checked.stdout)["columns"]], checked.stderr
    replay = ("backtest", "--reference", "before.csv", "--stream", "same.csv", "--window-rows", "50")
    for options in (("--prediction", "age", "--task", "regression"), ("--timestamp", "age")):
        done = driftbell(*replay, *options, cwd=tables)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--exclude", "a*"), "--exclude leaves out column 'age', but another option names"),
        (("--include", "plan"), "--include leaves out column 'age', but another option names"),
        (("--column", "age=text"), "--column: 'age' cannot be of the kind 'text'"),
    ],
)
def test_options_that_contradict_a_role_are_refused(
    tables: Path, options: tuple[str, ...], message: str
) -> None:
    for arguments in (
        ("check", "before.csv", "same.csv", "--prediction", "age"),
        ("backtest", "--reference", "before.csv", "--stream", "same.csv", "--prediction", "age"),
    ):
        done = driftbell(*arguments, *options, cwd=tables)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr


def test_an_additional_column_is_a_note_in_word_and_exit_code(tables: Path) -> None:
    rows = (tables / "same.csv").read_text().splitlines()
    (tables / "wider.csv").write_text("\n".join([f"{rows[0]},extra", *(f"{row},1" for row in rows[1:])]))
    for fail_on in FAIL_ON:
        done = driftbell("check", "before.csv", "wider.csv", "--fail-on", fail_on, cwd=tables)
        assert (done.returncode, done.stdout.split()[0], done.stderr) == (0, "OK", "")
        assert "Not in the reference: extra." in done.stdout.splitlines()[0]


def test_an_exit_code_that_the_verdict_does_not_explain_has_its_reason(tables: Path) -> None:
    rows = (tables / "older.csv").read_text().splitlines()
    (tables / "ages.csv").write_text("\n".join(row.split(",")[0] for row in rows))
    done = driftbell("check", "before.csv", "ages.csv", "--fail-on", "alarm", cwd=tables)
    assert (done.returncode, done.stdout.split()[0]) == (3, "WARNING")
    assert done.stderr == "exit code 3: cannot compare plan\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("before.csv", "same.csv", "--html", "before.csv"), "--html: before.csv is the table itself"),
        (("before.csv", "same.csv", "--junit", "./same.csv"), "--junit: ./same.csv is the table itself"),
        (("before.csv", "*e.csv", "--markdown", "same.csv"), "--markdown: same.csv is read as *e.csv"),
        (("before.csv", "days", "--html", "days/link.csv"), "--html: days/link.csv is read as days"),
        (("same.csv", "few.csv", "--html", "days/link.csv"), "--html: days/link.csv is the table itself"),
        (("same.csv", "few.csv", "--html", "x", "--junit", "x"), "--junit: x is the file of --html"),
        (
            ("same.csv", "few.csv", "--html", "no/x.html"),
            "--html: cannot write no/x.html: there is no folder",
        ),
        (("same.csv", "few.csv", "--junit", "-"), "--junit: '-' is no file: name one"),
        (("before.csv", "days", "--html", "days/x.html"), "--html: days/x.html is in the folder days"),
    ],
)
def test_an_output_replaces_no_table(tables: Path, arguments: tuple[str, ...], message: str) -> None:
    (tables / "days").mkdir()
    (tables / "days" / "link.csv").symlink_to(tables / "same.csv")
    before = {path: path.read_bytes() for path in tables.rglob("*.csv")}
    done = driftbell("check", *arguments, cwd=tables)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert {path: path.read_bytes() for path in tables.rglob("*.csv")} == before


def test_a_file_that_is_compared_with_itself_is_noted(tables: Path) -> None:
    (tables / "link.csv").symlink_to("same.csv")
    done = driftbell("check", "same.csv", "link.csv", cwd=tables)
    assert (done.returncode, done.stderr) == (0, "note: both tables are the same file\n")


def test_nothing_compared_is_unknown(tables: Path) -> None:
    (tables / "ids.csv").write_text("id\n" + "\n".join(f"u{i}x" for i in range(200)))
    done = driftbell("check", "ids.csv", "ids.csv", cwd=tables)
    assert (done.returncode, done.stdout.split()[0]) == (3, "UNKNOWN")
    assert "1 column not compared: id (identifier: " in done.stdout


def test_at_most_twenty_columns_are_printed_the_drifted_first_on_one_line_each(tables: Path) -> None:
    names = [f"x{i}" for i in range(30)] + ['"two\nlines"', "n" * 200]

    def write(name: str, shift: int) -> None:
        rows = [",".join([str(i % 7)] * 31 + [str(i % 7 + shift)]) for i in range(200)]
        (tables / name).write_text("\n".join([",".join(names), *rows]))

    write("wide.csv", 0)
    write("moved.csv", 9)
    done = driftbell("check", "wide.csv", "moved.csv", cwd=tables)
    _, first, *rest, last = done.stdout.splitlines()
    assert done.returncode == 1
    assert first.startswith(f"  {'n' * 39}…  warning")
    assert len(rest) == 19
    assert last == "  and 12 more columns; --json prints all"
    result = driftbell("check", "wide.csv", "moved.csv", "--json", cwd=tables)
    assert len(json.loads(result.stdout)["columns"]) == 32


def test_check_prints_json(tables: Path) -> None:
    result = json.loads(driftbell("check", "before.csv", "older.csv", "--json", cwd=tables).stdout)
    assert result["verdict"] == "warning"
    assert [c["comparison"]["column"] for c in result["columns"] if c["drifted"]] == ["age"]


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("check", "before.csv"), "two"),
        (("check", "before.csv", "missing.csv"), "missing.csv"),
        (("check", "before.csv", "before.xlsx"), "before.xlsx"),
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
    open_store(Settings(data_dir=tmp_path / "data")).close()
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


def test_check_reads_tables_with_the_options(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;zip;amount\n" + "".join(f"{i};10115;{i % 9},5\n" for i in range(50)))
    (tmp_path / "b.csv").write_text("id;zip;amount\n" + "".join(f"{i};80331;{i % 9},5\n" for i in range(50)))
    tables = ("a.csv", "b.csv", "--exclude", "id,x*")
    assert "--exclude: the table has no column 'x*'" in driftbell("check", *tables, cwd=tmp_path).stderr
    options = ("--exclude", "id", "--column", "zip=categorical", "--null", "8,5", "--verbose", "--json")
    done = driftbell("check", "a.csv", "b.csv", *options, cwd=tmp_path)
    result = json.loads(done.stdout)
    assert done.returncode == 1
    assert result["detected"]["current"]["decimal"] == ","
    assert "current: format text, separator semicolon, encoding utf-8, header yes, decimal ," in done.stderr
    drifted = {c["comparison"]["column"]: c["drifted"] for c in result["columns"]}
    assert drifted == {"zip": True, "amount": False}


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--column", "zip"), "--column must be NAME=KIND"),
        (("--column", "zip=number"), "--column: column 'zip' has the unknown kind 'number'"),
        (("--column", "zap=text"), "--column: the table has no column 'zap': did you mean 'zip'?"),
        (("--separator", "::"), "--separator"),
        (("--decimal", ";"), "--decimal"),
        (("--encoding", "klingon"), "--encoding"),
        (("--query", "SELECT 1"), "--query needs a database"),
    ],
)
def test_an_invalid_reading_option_is_named(tmp_path: Path, option: tuple[str, str], words: str) -> None:
    (tmp_path / "a.csv").write_text("zip\n1\n2\n")
    done = driftbell("check", "a.csv", "a.csv", *option, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr


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


def test_a_module_that_a_command_lacks_is_named_in_one_line() -> None:
    code = (
        "from driftbell.cli import root, check; "
        "root.cli.commands['config'].callback = lambda **options: __import__('no_such_module'); root.main()"
    )
    done = subprocess.run([sys.executable, "-c", code, "config"], capture_output=True, text=True, timeout=60)
    expected = "driftbell: driftbell config needs the module 'no_such_module', which is not installed: pip "
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(expected)
