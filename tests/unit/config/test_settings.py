from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from driftbell.alarms.budget import Budget
from driftbell.config.settings import (
    Settings,
    environment_variable,
    load,
    setting_descriptions,
    setting_names,
    setting_values,
)
from driftbell.errors import ConfigError

SHA = "ab" * 32
SECRETS = (SecretStr("json://a.example/x"), SecretStr("json://b.example"))
VALUES = {  # another value than the default for each setting: as in TOML, and as the setting holds it
    "data_dir": ('"elsewhere"', Path("elsewhere")),
    "umask": ('"022"', "022"),
    "server.host": ('"0.0.0.0"', "0.0.0.0"),
    "server.port": ("9000", 9000),
    "server.workers": ("4", 4),
    "server.trusted_proxies": ('"127.0.0.1, 10.1.2.3/16 fd00::/8"', ("127.0.0.1", "10.1.0.0/16", "fd00::/8")),
    "server.allowed_hosts": ('"ml.example.org, *.example.com"', ("ml.example.org", "*.example.com")),
    "server.body_limit": ('"2MiB"', 2 * 1024**2),
    "server.header_limit": ('"8KiB"', 8 * 1024),
    "server.header_timeout": ('"5s"', timedelta(seconds=5)),
    "server.body_timeout": ('"1m"', timedelta(minutes=1)),
    "server.keep_alive": ('"20s"', timedelta(seconds=20)),
    "server.connections": ("50", 50),
    "server.queue_limit": ("7", 7),
    "server.root_path": ('"/ml/"', "/ml"),
    "server.forwarded_prefix": ("true", True),
    "server.cors_origins": (
        '"https://A.example:443, http://localhost:3000"',
        ("https://a.example", "http://localhost:3000"),
    ),
    "server.access_log": ("false", False),
    "auth.required": ('"with_keys"', "with_keys"),
    "auth.issuer": ('"https://login.example.org/realms/ml"', "https://login.example.org/realms/ml"),
    "auth.audience": ('"driftbell"', "driftbell"),
    "auth.scope_claim": ('"permissions"', "permissions"),
    "auth.session_secret_file": ('"/run/secrets/session"', Path("/run/secrets/session")),
    "auth.rate": ('" 100 / minute"', "100/minute"),
    "auth.open": ('"health, metrics"', ("health", "metrics")),
    "log.url": ('"postgresql://me:pw@db/log"', SecretStr("postgresql://me:pw@db/log")),
    "log.url_file": ('"log_url"', Path("log_url")),
    "log.durability": ('"power"', "power"),
    "log.on_failure": ('"spool"', "spool"),
    "window.rows": ("100", 100),
    "window.period": ('"30d"', timedelta(days=30)),
    "check.every": ('"30s"', timedelta(seconds=30)),
    "check.minimum_rows": ("20", 20),
    "check.false_discovery_rate": ("0.01", 0.01),
    "check.smallest_effect": ("0.05", 0.05),
    "check.smallest_effects": ('"amount=0.1,zip=0"', {"amount": 0.1, "zip": 0.0}),
    "check.exact_rows": ("5000", 5000),
    "check.refused_share": ("0.05", 0.05),
    "limits": ('"fare.max=500,a.b.null_share=0.1"', {"fare.max": 500.0, "a.b.null_share": 0.1}),
    "alarms.budget": ('"2 per 1000 checks"', Budget(2, checks=1000)),
    "alarms.smallest_loss": ("0.05", 0.05),
    "alarms.metric": ('"cost"', "cost"),
    "alarms.quantile": ("0.9", 0.9),
    "alarms.costs": ('"churn>stay=50"', {"churn": {"stay": 50.0}}),
    "alarms.cost": ("2.5", 2.5),
    "alarms.currency": ('"EUR"', "EUR"),
    "reports.keep": ("5", 5),
    "reports.max_size": ('"2GiB"', 2 * 1024**3),
    "reports.evidently": ('"off"', "off"),
    "model.name": ('"churn"', "churn"),
    "model.path": ('"churn.skops"', Path("churn.skops")),
    "model.sha256": (f'"{SHA}"', SHA),
    "model.reference": ('"training.csv"', Path("training.csv")),
    "model.target": ('"churned"', "churned"),
    "model.classes": ('"no, yes"', ("no", "yes")),
    "model.prediction": ('"predicted"', "predicted"),
    "model.probabilities": ('"yes=p_yes"', {"yes": "p_yes"}),
    "model.task": ('"regression"', "regression"),
    "model.version": ('"2026-03"', "2026-03"),
    "model.threshold": ('"churn=0.8"', {"churn": 0.8}),
    "model.protocol": ('"mlflow"', "mlflow"),
    "model.timeout": ('"3s"', timedelta(seconds=3)),
    "model.load_timeout": ('"10m"', timedelta(minutes=10)),
    "model.golden": ('"golden.json"', Path("golden.json")),
    "model.engine": ('"native"', "native"),
    "models": ('"churn=churn.toml, b-2=b.toml"', {"churn": Path("churn.toml"), "b-2": Path("b.toml")}),
    "columns.kinds": ('"zip=categorical,age=integer"', {"zip": "categorical", "age": "integer"}),
    "columns.exclude": ('"id,row_*"', ("id", "row_*")),
    "columns.include": ('"age, zip"', ("age", "zip")),
    "columns.nulls": ('"-999, missing"', ("-999", "missing")),
    "columns.keep_null_words": ('"region, state*"', ("region", "state*")),
    "columns.dtypes": ('"zip=str,at=datetime64[ns, UTC]"', {"zip": "str", "at": "datetime64[ns, UTC]"}),
    "columns.log": ('"email=hash,note=drop"', {"email": "hash", "note": "drop"}),
    "columns.log_key_file": ('"/run/secrets/log_key"', Path("/run/secrets/log_key")),
    "tracing.endpoint": ('"http://127.0.0.1:4318"', "http://127.0.0.1:4318"),
    "tracing.sample": ("0.25", 0.25),
    "retention.days": ("90", 90),
    "retention.archive": ('"s3://bucket/driftbell"', "s3://bucket/driftbell"),
    "notifications.urls": ('"json://a.example/x,json://b.example"', SECRETS),
    "notifications.urls_file": ('"notifications.txt"', Path("notifications.txt")),
    "notifications.cooldown": ('"1h"', timedelta(hours=1)),
    "notifications.needs_labels": ("true", True),
    "notifications.link": ('"https://ml.example.org/x"', "https://ml.example.org/x"),
}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def get(settings: Settings, name: str) -> Any:
    for part in name.split("."):
        settings = getattr(settings, part)
    return settings


def toml(name: str, value: str) -> str:
    section, _, key = name.rpartition(".")
    return f"[{section}]\n{key} = {value}\n" if section else f"{key} = {value}\n"


def problem(**sources: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**{"environment": {}, **sources})
    return str(caught.value)


def written(text: str) -> Path:
    path = Path("some.toml")
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[model]\nthreshold = {churn = 0.8}", "churn"),
        ("[model.threshold]\nchurn = 0.8", "churn"),
        ('[model]\nthreshold = {"high risk=a" = 0.8}', "high risk=a"),
        ("[model]\nthreshold = {1 = 0.8}", "1"),
        ("[model]\nthreshold = {1.0 = 0.8}", "1.0"),  # a key with a dot is a table of its own in TOML
        ('[model]\nthreshold = "high risk=a=0.8"', "high risk=a"),
    ],
)
def test_a_threshold_names_any_class(text: str, name: str) -> None:
    settings = load(written(text), environment={}).settings
    assert settings.model.threshold == {name: 0.8}
    assert setting_values(settings)["model.threshold"] == f"{name}=0.8"
    variable = {"DRIFTBELL_MODEL__THRESHOLD": f"{name}=0.8"}
    assert load(environment=variable).settings.model.threshold == {name: 0.8}


def test_every_setting_has_a_case_here_and_a_description() -> None:
    assert set(VALUES) == set(setting_names())
    assert all(setting_descriptions().values())
    assert list(setting_descriptions()) == setting_names()


@pytest.mark.parametrize("name", VALUES)
def test_each_setting_comes_from_the_file(name: str) -> None:
    text, value = VALUES[name]
    loaded = load(written(toml(name, text)), environment={})
    assert get(loaded.settings, name) == value != get(Settings(), name)
    assert loaded.sources == {name: "some.toml"}


@pytest.mark.parametrize("name", VALUES)
def test_each_setting_comes_from_the_environment(name: str) -> None:
    text, value = VALUES[name]
    loaded = load(environment={environment_variable(name): text.strip('"')})
    assert get(loaded.settings, name) == value
    assert loaded.sources == {name: f"environment, {environment_variable(name)}"}


@pytest.mark.parametrize("name", VALUES)
def test_each_setting_comes_from_the_command_line(name: str) -> None:
    _, value = VALUES[name]
    loaded = load(environment={}, overrides={name: value})
    assert get(loaded.settings, name) == value
    assert loaded.sources == {name: "command line"}


def test_columns_are_set_by_a_table_of_kinds_and_lists() -> None:
    file = written('[columns]\nexclude = ["id", "row_*"]\n[columns.kinds]\n"a=b" = "text"\n')
    columns = load(file, environment={}).settings.columns
    assert (columns.kinds, columns.exclude) == ({"a=b": "text"}, ("id", "row_*"))


def test_limits_are_quoted_names_or_tables() -> None:
    text = '[limits]\n"petal width (cm).max" = 3\nage.null_share = 0.1\n[limits."a.b"]\nmin = -1\nmax = 1e3\n'
    limits = load(written(text), environment={}).settings.limits
    names = ("petal width (cm).max", "age.null_share", "a.b.min", "a.b.max")
    assert limits == dict(zip(names, (3.0, 0.1, -1.0, 1000.0), strict=True))


def test_an_unknown_measure_of_a_limit_suggests_the_nearest() -> None:
    result = problem(file=written('[limits]\n"age.null_shares" = 0.1\n'))
    assert result.startswith(
        "setting 'limits' (some.toml): limit 'age.null_shares' has the unknown measure 'null_shares': "
        "did you mean 'null_share'?"
    )


def test_the_defaults_need_no_source() -> None:
    loaded = load(environment={})
    assert loaded.settings == Settings()
    assert loaded.sources == {}


def test_the_command_line_beats_the_environment_beats_the_file() -> None:
    file = written("[server]\nport = 1\nworkers = 1\nqueue_limit = 1\n")
    environment = {"DRIFTBELL_SERVER__WORKERS": "2", "DRIFTBELL_SERVER__QUEUE_LIMIT": "2"}
    loaded = load(file, environment=environment, overrides={"server.queue_limit": 3})
    server = loaded.settings.server
    assert (server.port, server.workers, server.queue_limit) == (1, 2, 3)
    assert loaded.sources == {
        "server.port": "some.toml",
        "server.workers": "environment, DRIFTBELL_SERVER__WORKERS",
        "server.queue_limit": "command line",
    }


def test_driftbell_toml_in_the_working_folder_is_read() -> None:
    Path("driftbell.toml").write_text("[server]\nport = 9000\n", "utf-8")
    assert load(environment={}).settings.server.port == 9000


def test_the_environment_can_name_the_file() -> None:
    Path("driftbell.toml").write_text("[server]\nport = 1\n", "utf-8")
    written("[server]\nport = 2\n")
    assert load(environment={"DRIFTBELL_CONFIG": "some.toml"}).settings.server.port == 2


def test_the_argument_beats_the_environments_file() -> None:
    written("[server]\nport = 2\n")
    Path("other.toml").write_text("[server]\nport = 3\n", "utf-8")
    assert load(Path("other.toml"), environment={"DRIFTBELL_CONFIG": "some.toml"}).settings.server.port == 3


def test_other_variables_do_not_matter() -> None:
    assert load(environment={"PATH": "x", "DRIFTBELLS_PORT": "x"}).sources == {}


def test_the_environment_is_the_processs_own_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTBELL_WINDOW__ROWS", "77")
    assert load().settings.window.rows == 77


def test_a_file_that_is_not_there_is_named() -> None:
    assert problem(file=Path("none.toml")).startswith("cannot read the configuration file none.toml")
    assert "none.toml" in problem(environment={"DRIFTBELL_CONFIG": "none.toml"})


@pytest.mark.parametrize("content", [b"[server", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(content: bytes) -> None:
    Path("some.toml").write_bytes(content)
    assert problem(file=Path("some.toml")).startswith("the configuration file some.toml is not valid TOML")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[chek]\nevery = '5m'", "unknown setting 'chek.every' (some.toml): did you mean 'check.every'?"),
        ("[check]\nevry = '5m'", "unknown setting 'check.evry' (some.toml): did you mean 'check.every'?"),
        ("port = 8000", "unknown setting 'port' (some.toml): did you mean 'server.port'?"),
        ("[server]\nqqq = 1", "unknown setting 'server.qqq' (some.toml)"),
        ("server = 8000", "unknown setting 'server' (some.toml)"),
        ("zzzzzz = 1", "unknown setting 'zzzzzz' (some.toml): `driftbell config` lists every setting"),
    ],
)
def test_an_unknown_key_is_named_with_its_source_and_the_nearest_one(text: str, message: str) -> None:
    result = problem(file=written(text))
    assert result.startswith(message)


@pytest.mark.parametrize("section", sorted(set(Settings.model_fields) - {"data_dir", "umask"}))
def test_a_section_without_settings_has_its_defaults(section: str) -> None:
    assert load(written(f"[{section}]\n# nothing yet\n")).settings == Settings()


def test_an_empty_section_with_an_unknown_name_is_refused() -> None:
    assert problem(file=written("[alarm]")).startswith("unknown setting 'alarm' (some.toml)")


def test_an_unknown_variable_is_named() -> None:
    result = problem(environment={"DRIFTBELL_CHECK__EVRY": "5m"})
    assert result == (
        "unknown setting 'check.evry' (environment, DRIFTBELL_CHECK__EVRY): did you mean 'check.every'?"
    )


def test_variables_of_clients_are_no_settings() -> None:
    environment = {"DRIFTBELL_API_KEY": "dbk_1", "DRIFTBELL_URL": "http://127.0.0.1:8000"}
    assert load(written(""), environment=environment).settings == Settings()
    assert "DRIFTBELL_API_KEYS" in problem(environment={"DRIFTBELL_API_KEYS": "x"})


def test_an_unknown_override_is_named() -> None:
    assert problem(overrides={"prt": 1}).startswith("unknown setting 'prt' (command line)")


BAD: dict[str, list[Any]] = {
    "data_dir": [1, {"a": 1}],
    "server.host": [5, []],
    "server.port": [0, 65536, "http", 1.5],
    "server.workers": [0, 65, "many"],
    "server.body_limit": ["1 MB/s", "63", -1, "big"],
    "server.queue_limit": [0, "x"],
    "server.access_log": ["perhaps", 3],
    "auth.required": ["yes", True, 1, ""],
    "auth.issuer": ["login.example.org", "http://login.example.org", "https://a@b", 3],
    "auth.audience": ["", 3],
    "auth.scope_claim": ["", 3],
    "auth.session_secret_file": [3, ["a"], True],
    "auth.rate": ["100", "0/second", "1/day", "-1/second", "1.5/second", 100, ["1/second"]],
    "auth.open": ["predict", ["health", "docs"], 3, {"health": True}],
    "window.rows": [0, 1_000_001, "all"],
    "window.period": ["36h", "30", 30, "0d", "3661d", "month"],
    "model.protocol": ["grpc", 3],
    "model.timeout": ["0s", 5, "soon"],
    "model.load_timeout": ["0s", 5, "soon"],
    "model.classes": ["yes", ["no", "no"], ["no", ""], "a,,b", 3, {"no": 0}],
    "model.threshold": [
        *("0.8", 0.8, "churn", "churn=0", "churn=1", "churn=80%", "churn=nan", "churn=0.8,stay=0.3", "=0.8"),
        *(
            {},
            {"churn": 0.8, "stay": 0.3},
            {"churn": 1},
            {"churn": True},
            {"churn": None},
            {"": 0.5},
            ["churn"],
        ),
    ],
    "columns.kinds": ["zip", {"zip": "number"}, {"zip": 1}, ["zip"], 3],
    "columns.exclude": [1, [1], {"id": "x"}],
    "columns.include": [1, [1], {"id": "x"}],
    "columns.nulls": [-999, [-999]],
    "columns.keep_null_words": [1, [1], {"id": "x"}],
    "columns.log": ["email", {"email": "hide"}, {"email": 1}, ["email"], 3],
    "columns.log_key_file": [3, ["a"], True],
    "columns.dtypes": ["zip", {"zip": "text"}, {"zip": 1}, ["zip"], 3],
    "check.every": [5, "5", "soon", "-5m", "0s", "99999999999999d", True, [], {"minutes": 5}],
    "check.minimum_rows": [0, "x"],
    "check.false_discovery_rate": [0, 1, -0.1, "5%", float("nan")],
    "check.exact_rows": [0, 999, "many", 1e300],
    "check.refused_share": [-0.1, 1.1, "5%"],
    "check.smallest_effect": [1, -0.1, "2%", float("nan")],
    "check.smallest_effects": [
        "0.1",
        {"a": 1},
        {"a": -0.1},
        {"a": "2%"},
        {"a": float("nan")},
        {"a": True},
        3,
    ],
    "limits": [
        "fare",
        "fare=5",
        {"fare.mx": 5},
        {"fare.null_share": 1},
        {"fare.null_share": -0.1},
        {"fare.max": float("nan")},
        {"fare.max": float("inf")},
        {"fare.max": "much"},
        {"fare.max": True},
        {"fare.max": [1]},
        {".max": 1},
        3,
    ],
    "alarms.budget": ["", "soon", "0 per 30d", "1 per month", "5 per 5 checks", 1, None, {"alarms": 1}],
    "alarms.metric": ["", "acc", "recall", 1, True],
    "alarms.quantile": [0, 1, -0.1, "half", True],
    "alarms.costs": [
        50,
        "churn=50",
        "churn>stay",
        "churn>stay=-1",
        {"churn": 50},
        {"churn": {"stay": -1}},
        {"churn": {"stay": "much"}},
        {"churn": {"stay": float("inf")}},
        {"1": {"0": {"0": 5}}},
        {"churn": {"stay": True}},
    ],
    "alarms.cost": [0, -1, "much", float("inf"), float("nan")],
    "alarms.currency": ["", " ", "5", "E U R", 1],
    "alarms.smallest_loss": [0, -0.1, "0%", "-2%", "two", True, [0.1], float("nan"), float("inf")],
    "umask": ["77", "888", "0o22", 22, ""],
    "server.trusted_proxies": ["*", "nginx", "0.0.0.0/0", "::/0", "10.0.0.1:80", [5], 5, "10.0.0.0/33"],
    "server.allowed_hosts": ["http://a", "a:80", "a b/c", ["a", "b*"], 5],
    "server.header_limit": ["1 furlong", 63],
    "server.header_timeout": ["off", "0.5s", 10, "soon"],
    "server.body_timeout": ["off", "0.5s", 10, "soon"],
    "server.keep_alive": ["off", "0.5s", 75],
    "server.root_path": ["ml", "//evil.example", "/a//b", "/a/../b", "/a b", "/reports", "/monitor/x", 5],
    "server.forwarded_prefix": ["maybe"],
    "server.cors_origins": [
        *("a.example", "https://a.example/", "https://a.example/x", "https://u@a.example", "null"),
        *("*, https://a.example", "https://*.a.example", 5, [5], "ftp://a.example"),
    ],
    "models": ["churn", "Churn=a.toml", "compare=a.toml", {"churn": 5}, 5],
    "server.connections": [0, 100_001, "many"],
    "log.url": ["", "hunter2", "mysql://me:hunter2@db/log", "postgresql://hunter2@db:x/log", 5],
    "log.url_file": [5],
    "log.durability": ["disk", True],
    "log.on_failure": ["ignore", 5],
    "reports.keep": [0, "x"],
    "reports.max_size": ["1kB", 0, "-1", "much", True],
    "reports.evidently": ["yes", True],
    "model.name": ["", "a b", "x" * 101, "../x"],
    "model.path": [5, "", "http://me:hunter2@host/x"],
    "model.sha256": ["abc", SHA + "a", "g" * 64],
    "model.reference": [5],
    "model.target": [5],
    "model.prediction": [5],
    "model.probabilities": ["p_yes", 5, ["p_yes"], {"yes": 5}],
    "model.task": ["clustering", 5],
    "model.version": ["", "a b", "-a", 5, "x" * 65],
    "model.golden": [5],
    "model.engine": ["onnx", True],
    "tracing.endpoint": [
        "",
        "127.0.0.1:4318",
        "grpc://127.0.0.1:4317",
        "http://",
        "http://a b",
        "http://[::1",
        "http://a:99999",
        "http://a:0",
        "http://a/v1/traces",
        "http://a\n",
        4318,
    ],
    "tracing.sample": [-0.1, 1.1, "half", float("nan")],
    "retention.days": [0, -1, 1.5, "90 days", 36501],
    "retention.archive": ["", 5],
    "notifications.urls": ["slack", "hunter2 json://ok", ["json://ok", "hunter2"], 5, {"a": 1}, [5]],
    "notifications.urls_file": [5],
    "notifications.cooldown": [5, "soon"],
    "notifications.needs_labels": [5, "maybe", None],
    "notifications.link": ["localhost:8000", "ftp://x", "https://me:hunter2@x", "https://x?a", 5],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_a_wrong_value_is_named_with_its_source(name: str, value: Any) -> None:
    result = problem(overrides={name: value})
    assert result.startswith(f"setting '{name}' (command line): ")
    assert "hunter2" not in result
    assert "\n" not in result


def test_every_setting_refuses_something() -> None:
    assert set(BAD) == set(setting_names())


@pytest.mark.parametrize(
    "url", ["http://me:SeCrEt@a:4318", "http://a?token=SeCrEt", "a@SeCrEt", "http://a/#SeCrEt"]
)
def test_the_error_of_an_endpoint_with_credentials_does_not_contain_it(url: str) -> None:
    result = problem(overrides={"tracing.endpoint": url})
    assert "OTEL_EXPORTER_OTLP_HEADERS" in result
    assert "SeCrEt" not in result


def test_all_invalid_values_are_listed_at_once() -> None:
    result = problem(file=written("[server]\nport = 0\n"), environment={"DRIFTBELL_WINDOW__ROWS": "x"})
    assert [line.split(":")[0] for line in result.splitlines()] == [
        "setting 'server.port' (some.toml)",
        "setting 'window.rows' (environment, DRIFTBELL_WINDOW__ROWS)",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("1s", 1), ("1.5h", 5400), (" 5 m ", 300), ("2d", 172800), ("1ms", 0.001)],
)
def test_a_duration_has_a_number_and_a_unit(text: str, seconds: float) -> None:
    every = load(environment={}, overrides={"check.every": text}).settings.check.every
    assert every == timedelta(seconds=seconds)


def test_off_is_not_a_duration() -> None:
    assert load(environment={}, overrides={"check.every": "off"}).settings.check.every is None


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("100", 100),
        ("64b", 64),
        ("1kb", 1000),
        ("1KiB", 1024),
        (" 3 MB ", 3_000_000),
        ("1gib", 2**30),
        (77, 77),
    ],
)
def test_a_size_is_a_number_with_or_without_a_unit(text: int | str, size: int) -> None:
    assert load(environment={}, overrides={"server.body_limit": text}).settings.server.body_limit == size


@given(st.integers(1, 10**9), st.sampled_from(["ms", "s", "m"]))
def test_printed_values_can_be_written_in_the_file(number: int, unit: str) -> None:
    if unit == "m":
        number = min(number, 10**7)
    before = load(environment={}, overrides={"check.every": f"{number}{unit}"}).settings
    text = setting_values(before)["check.every"]
    assert load(environment={}, overrides={"check.every": text}).settings == before


def test_every_setting_is_shown() -> None:
    result = setting_values(load(environment={}, overrides={"check.every": "off"}).settings)
    assert set(result) == set(setting_names())
    assert result["check.every"] == "off"
    assert result["model.path"] is None
    assert result["data_dir"] == "driftbell-data"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Settings().server, "port", 1)  # noqa: B010


def test_everything_written_goes_below_the_data_folder() -> None:
    settings = Settings(data_dir=Path("d"))
    assert settings.log_path.parent == settings.reports_dir.parent == Path("d")


def test_a_cooldown_can_be_switched_off() -> None:
    settings = load(environment={}, overrides={"notifications.cooldown": "off"}).settings
    assert settings.notifications.cooldown is None
    assert setting_values(settings)["notifications.cooldown"] == "off"
