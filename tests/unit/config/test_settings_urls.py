"""URLs of receivers and of the database: where they come from, and that none is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.config.test_settings import written

from driftbell.config.display import file_value, path_without_credentials, without_credentials
from driftbell.config.postgres_url import parse_database
from driftbell.config.settings import (
    LogSettings,
    NotificationSettings,
    Settings,
    load,
    log_database,
    notification_urls,
    setting_values,
)
from driftbell.errors import ConfigError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


URL = "postgresql://me:hunter2@db/log"


@pytest.mark.parametrize(
    "text",
    [
        "slack://a/b mailto://me:pw@x.org?to=a@x.org,b@x.org",
        "slack://a/b, mailto://me:pw@x.org?to=a@x.org,b@x.org,",
        "\nslack://a/b\n\n\tmailto://me:pw@x.org?to=a@x.org,b@x.org\n",
    ],
)
def test_urls_are_separated_by_white_space_or_commas_that_are_not_part_of_one(text: str) -> None:
    both = [
        ("notifications.urls", "slack://a/b"),
        ("notifications.urls", "mailto://me:pw@x.org?to=a@x.org,b@x.org"),
    ]
    assert (
        notification_urls(load(environment={"DRIFTBELL_NOTIFICATIONS__URLS": text}).settings.notifications)
        == both
    )
    assert (
        notification_urls(
            load(environment={}, overrides={"notifications.urls": [text]}).settings.notifications
        )
        == both
    )


def test_urls_from_a_file_come_after_the_others_without_comments() -> None:
    Path("urls.txt").write_text("# the team\nslack://a/b?x=1, 2\n\n  json://c  \n", "utf-8")
    file = written("[notifications]\nurls = ['json://first']\nurls_file = 'urls.txt'\n")
    assert notification_urls(load(file, environment={}).settings.notifications) == [
        ("notifications.urls", "json://first"),
        ("notifications.urls_file", "slack://a/b?x=1, 2"),
        ("notifications.urls_file", "json://c"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "notifications.urls_file: cannot read urls.txt: No such file"),
        (
            b"json://ok\nhunter2\n",
            "notifications.urls_file: line 2 of urls.txt must be an apprise URL such as",
        ),
        (b"hunter2\xff", "notifications.urls_file: urls.txt is not UTF-8 text"),
    ],
)
def test_a_file_of_urls_that_cannot_be_read_is_named_without_its_content(
    content: bytes | None, message: str
) -> None:
    if content:
        Path("urls.txt").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        notification_urls(NotificationSettings(urls_file=Path("urls.txt")))
    assert str(caught.value).startswith(message)
    assert "hunter2" not in str(caught.value)


def test_an_empty_file_of_urls_has_no_receivers() -> None:
    Path("urls.txt").write_text("")
    assert notification_urls(NotificationSettings(urls_file=Path("urls.txt"))) == []


def test_the_configuration_lists_only_the_number_of_urls() -> None:
    settings = load(environment={}, overrides={"notifications.urls": "slack://hunter2 json://x"}).settings
    assert setting_values(settings)["notifications.urls"] == "(2 set)"
    assert setting_values(Settings())["notifications.urls"] is None
    assert "hunter2" not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


def test_the_log_is_a_file_unless_a_database_is_named() -> None:
    assert log_database(LogSettings()) is None
    result = log_database(load(environment={"DRIFTBELL_LOG__URL": URL}).settings.log)
    assert result == parse_database(URL)
    Path("url").write_text(f"{URL}\n", "utf-8")
    assert log_database(LogSettings(url_file=Path("url"))) == result


def test_the_configuration_hides_the_url_of_the_database() -> None:
    settings = load(environment={"DRIFTBELL_LOG__URL": URL}).settings
    assert setting_values(settings)["log.url"] == "(set)"
    assert setting_values(Settings())["log.url"] is None
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "log.url_file: cannot read url: No such file"),
        (b"hunter2\n", "log.url_file: the line in url must be a URL such as"),
        (b"hunter2\xff", "log.url_file: url is not UTF-8 text"),
    ],
)
def test_a_file_with_the_url_that_cannot_be_read_is_named_without_its_content(
    content: bytes | None, message: str
) -> None:
    if content is not None:
        Path("url").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        log_database(LogSettings(url_file=Path("url")))
    assert str(caught.value).startswith(message)
    assert "hunter2" not in str(caught.value)


def test_a_database_is_named_once() -> None:
    with pytest.raises(ConfigError, match="both set"):
        log_database(load(environment={}, overrides={"log.url": URL, "log.url_file": "url"}).settings.log)


@pytest.mark.parametrize(
    "text",
    [
        "sftp://ann:s3cret@host/archive",
        "s3://key:s3cret@bucket/driftbell",
        "sftp://ann:s3c/s3cret@host/archive",
        "ann:s3cret@host:archive",
        "abfs://container/driftbell?sig=s3cret",
        "https://host/archive#s3cret",
        "filecache::sftp://ann:s3cret@host/archive",
    ],
)
@pytest.mark.parametrize(
    "name", ["retention.archive", "model.path", "data_dir", "model.reference", "server.host"]
)
def test_no_setting_shows_a_password(name: str, text: str) -> None:
    values = setting_values(load(environment={}, overrides={name: text}).settings)
    assert "s3cret" not in str(values)
    assert values[name]


@pytest.mark.parametrize("name", ["log.url_file", "notifications.urls_file"])
def test_a_url_in_the_place_of_its_file_is_not_shown(name: str) -> None:
    settings = load(environment={}, overrides={name: "postgresql://me:hunter2@db/log"}).settings

    def read() -> None:
        log_database(settings.log)
        notification_urls(settings.notifications)

    with pytest.raises(ConfigError) as caught:
        read()
    assert "hunter2" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["check.every", "server.port", "alarms.budget", "log.durability", "umask"])
def test_an_invalid_value_with_a_password_is_not_shown(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environment={}, overrides={name: "postgresql://me:hunter2@db/log"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["slack://hunter2/B/C", "postgresql://me:hunter2@host/db", "s3://bucket/hunter2"]
)
def test_a_url_that_stands_for_a_path_by_mistake_is_not_shown(url: str) -> None:
    assert "hunter2" not in path_without_credentials(Path(url))
    assert "hunter2" not in str(file_value(Path(url)))
    with pytest.raises(ConfigError) as error:
        notification_urls(NotificationSettings(urls_file=Path(url)))
    assert "hunter2" not in str(error.value)


def test_a_usual_path_is_shown() -> None:
    assert file_value(Path("/etc/driftbell/urls.txt")) == "/etc/driftbell/urls.txt"


@pytest.mark.parametrize("part", ["a", "a:", ":/", "://", "a@", "://a@"])
def test_long_text_is_shortened_before_its_credentials_are_looked_for(part: str) -> None:
    assert len(without_credentials(part * 200_000)) < 5000
