"""One backup has all models of a service, and each can be restored by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.command_line import driftbell
from tests.unit.ops.test_backup import NOW, files, filled, opened, predictions

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError
from driftbell.ops.backup import back_up, restore, verify


@pytest.fixture
def service(tmp_path: Path) -> tuple[Settings, dict[str, Settings]]:
    main, churn = filled(tmp_path / "main"), filled(tmp_path / "churn")
    with opened(churn) as log:
        log.predictions.append(predictions(7, first=300))
    return main, {"churn": churn}


def elsewhere(folder: Path) -> Settings:
    return Settings(data_dir=folder)


def test_one_backup_restores_every_model(
    service: tuple[Settings, dict[str, Settings]], tmp_path: Path
) -> None:
    main, further = service
    saved = back_up(main, tmp_path / "saved", now=NOW, further=further)
    assert saved == verify(tmp_path / "saved")
    assert (saved.format, saved.rows["predictions"]) == (2, 300)
    assert saved.further["churn"].rows["predictions"] == 307
    assert (tmp_path / "saved/further/churn").stat().st_mode & 0o777 == 0o700
    restored = {"churn": elsewhere(tmp_path / "b")}
    restore(elsewhere(tmp_path / "a"), tmp_path / "saved", further=restored)
    for own, rows in ((elsewhere(tmp_path / "a"), 300), (restored["churn"], 307)):
        with opened(own) as log:
            assert log.predictions.count(model="iris", version="v1") == rows
        assert (own.data_dir / "models/iris/v1/model.skops").is_file()


def test_a_backup_of_one_model_has_the_first_format(
    service: tuple[Settings, dict[str, Settings]], tmp_path: Path
) -> None:
    back_up(service[0], tmp_path / "saved", now=NOW)
    written = json.loads((tmp_path / "saved/manifest.json").read_text())
    assert written["format"] == 1
    assert "further" not in written


def test_nothing_is_restored_unless_every_model_can_be(
    service: tuple[Settings, dict[str, Settings]], tmp_path: Path
) -> None:
    main, further = service
    back_up(main, tmp_path / "saved", now=NOW, further=further)
    new = elsewhere(tmp_path / "a")
    with pytest.raises(ConfigError, match=r"has the further model churn, which \[models\]"):
        restore(new, tmp_path / "saved", further={})
    with pytest.raises(ConfigError, match="the data folder is not empty"):
        restore(new, tmp_path / "saved", further=further)
    log = tmp_path / "saved/further/churn/log.sqlite"
    log.write_bytes(log.read_bytes()[:-1] + b"x")
    with pytest.raises(ConfigError, match=r"further/churn is damaged: log\.sqlite was changed"):
        restore(new, tmp_path / "saved", further={"churn": elsewhere(tmp_path / "b")})
    assert not (tmp_path / "a" / "log.sqlite").exists()
    assert not (tmp_path / "b" / "log.sqlite").exists()


def test_a_manifest_of_a_further_model_cannot_be_exchanged(
    service: tuple[Settings, dict[str, Settings]], tmp_path: Path
) -> None:
    main, further = service
    back_up(main, tmp_path / "saved", now=NOW, further=further)
    manifest = tmp_path / "saved/further/churn/manifest.json"
    body = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**body, "time": "2020-01-01T00:00:00+00:00"}))
    with pytest.raises(ConfigError, match=r"further/churn/manifest\.json was changed"):
        verify(tmp_path / "saved")
    whole = tmp_path / "saved/manifest.json"
    body = json.loads(whole.read_text())
    whole.write_text(json.dumps({**body, "further": {"../churn": body["further"]["churn"]}}))
    with pytest.raises(ConfigError, match=r"manifest\.json cannot be read"):
        verify(tmp_path / "saved")


def test_the_commands_save_and_restore_all_models_or_one(
    service: tuple[Settings, dict[str, Settings]], tmp_path: Path
) -> None:
    churn = tmp_path / "churn.toml"
    churn.write_text(f'data_dir = "{service[1]["churn"].data_dir}"\n[model]\nname = "churn"\n')
    (tmp_path / "driftbell.toml").write_text(
        f'data_dir = "{service[0].data_dir}"\n[models]\nchurn = "{churn}"\n'
    )
    done = driftbell("backup", "saved", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("saved: 300 predictions, ")
    assert second.startswith("  churn: 307 predictions, ")
    done = driftbell("backup", "one", "--model", "churn", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["rows"]["predictions"] == 307
    assert "no model is named 'chum'" in driftbell("backup", "two", "--model", "chum", cwd=tmp_path).stderr

    assert "is not empty" in driftbell("restore", "saved", "--data-dir", "a", cwd=tmp_path).stderr
    done = driftbell("restore", "saved", "--data-dir", "a", "--model", "default", cwd=tmp_path)
    assert done.stdout.startswith("a: 300 predictions, "), done.stderr
    churn.write_text(churn.read_text().replace("churn/data", "churn/new"))
    done = driftbell("restore", "saved", "--model", "churn", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "churn/new/log.sqlite").is_file()
    assert files(tmp_path / "saved")
