"""`[models]`: names, files, and what belongs to the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driftbell.config.further_models import load_models, settings_of_model
from driftbell.config.settings import Settings, load
from driftbell.errors import ConfigError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DRIFTBELL_CONFIG", raising=False)
    return tmp_path


def write(name: str, text: str = "", data_dir: str | None = None) -> None:
    Path(f"{name}.toml").write_text(f'data_dir = "{data_dir or name}"\n[model]\nname = "{name}"\n{text}')


def main_settings(text: str = '[models]\nchurn = "churn.toml"\n', **environment: str) -> Settings:
    Path("driftbell.toml").write_text(text)
    return load(environment=environment).settings


def test_a_model_has_its_own_settings_and_those_of_the_service() -> None:
    write("churn", '[check]\nevery = "1h"\n')
    main = main_settings(
        'umask = "027"\n[server]\nport = 9000\nworkers = 3\n[models]\nchurn = "churn.toml"\n'
        '[notifications]\nlink = "https://ml.example.org/"\n',
        DRIFTBELL_CHECK__EVERY="1m",
        DRIFTBELL_DATA_DIR="elsewhere",
    )
    (own,) = load_models(main).values()
    assert (own.server, own.umask) == (main.server, "027")
    assert own.check.every is not None
    assert own.check.every.total_seconds() == 3600
    assert (main.data_dir, own.data_dir) == (Path("elsewhere"), Path("churn"))
    assert own.notifications.link == "https://ml.example.org/models/churn"
    assert own.models == {}
    assert settings_of_model(main, "churn") == own
    assert settings_of_model(main, "default") is settings_of_model(main, None) is main
    with pytest.raises(ConfigError, match=r"no model is named 'chrun' .* the models are default, churn"):
        settings_of_model(main, "chrun")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "[server]\nport = 9000\nhost = '0.0.0.0'",
            "churn.toml sets server.host, server.port, which the service",
        ),
        ("[auth]\nrequired = 'never'", "churn.toml sets auth.required, which the service has once"),
        ("[tracing]\nsample = 0.5", "churn.toml sets tracing.sample, which"),
        ("[models]\nother = 'other.toml'", "churn.toml sets models, which"),
        ("[window]\nrow = 5", "unknown setting 'window.row' (churn.toml)"),
    ],
)
def test_a_file_is_refused_with_the_name_of_the_model(text: str, reason: str) -> None:
    write("churn", text)
    with pytest.raises(ConfigError) as error:
        load_models(main_settings())
    assert str(error.value).startswith("models.churn: ")
    assert reason in str(error.value)


def test_the_model_has_the_name_of_its_path() -> None:
    Path("churn.toml").write_text('data_dir = "churn"\n[model]\nname = "other"\n')
    with pytest.raises(ConfigError, match=r'models.churn: .* in churn.toml: set model.name = "churn" there'):
        load_models(main_settings())
    with pytest.raises(ConfigError, match=r"cannot read the configuration file nowhere.toml"):
        load_models(main_settings('[models]\nchurn = "nowhere.toml"'))


def test_two_models_with_one_log_are_refused_with_both_files_and_the_setting() -> None:
    write("churn", data_dir="./driftbell-data/../driftbell-data")
    with pytest.raises(
        ConfigError, match=r"churn.toml and driftbell.toml have the same data folder .*data_dir"
    ):
        load_models(main_settings())
    write("churn", '[log]\nurl = "postgresql://a:secret@db/one"\n')
    write("fraud", '[log]\nurl = "postgresql://b@db:5432/one"\n')
    both = '[models]\nchurn = "churn.toml"\nfraud = "fraud.toml"\n'
    with pytest.raises(
        ConfigError, match=r"fraud.toml and churn.toml have the same database one: set another log.url"
    ):
        load_models(main_settings(both))
    write("fraud", '[log]\nurl = "postgresql://b@db:5432/two"\n')
    assert set(load_models(main_settings(both))) == {"churn", "fraud"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"Churn": "c.toml"}, "must begin with a lower-case letter"),
        ({"c" * 64: "c.toml"}, "at most 63"),
        ({"a/b": "c.toml"}, "must begin with a lower-case letter"),
        ({"a.b": "c.toml"}, "must begin with a lower-case letter"),
        ({"compare": "c.toml"}, "name 'compare' is reserved"),
        ({"rollback": "c.toml"}, "name 'rollback' is reserved"),
        ({"challenger": "c.toml"}, "name 'challenger' is reserved"),
        ({"default": "c.toml"}, "name 'default' is reserved"),
        ({"churn": 3}, "must be settings files by name"),
        ({"churn": ""}, "must be settings files by name"),
        ("churn", "must be settings files by name"),
    ],
)
def test_names_that_cannot_be_used_are_refused(value: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(environment={}, overrides={"models": value})
