"""Registered versions: added from files, opened from the registry alone, and compared."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import pytest
import sqlalchemy as sa
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tests.contract.builders import NOW
from tests.init_tables import FRAME, churn

from driftbell.config.settings import Settings, load
from driftbell.errors import ConfigError, ModelError
from driftbell.models.version_change import differences
from driftbell.records.versions import VersionFeature
from driftbell.store.sql import SqlStore
from driftbell.store.tables import model_files
from driftbell.testing import memory_store
from driftbell.wiring import version_files
from driftbell.wiring.add_version import AddedVersion, AddOptions, add_version
from driftbell.wiring.model import open_serving_model
from driftbell.wiring.version_files import encrypt_version_files, open_version_file, write_version_file
from driftbell.wiring.versions import (
    open_version,
    open_version_with_reference,
    register_champion,
)

ROW: list[Any] = [40, "pro", "10115", "Rome"]


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = memory_store()
    yield opened
    opened.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    FRAME.to_csv(tmp_path / "held_out.csv", index=False)
    joblib.dump(churn(), tmp_path / "churn.joblib")
    values = {"data_dir": tmp_path / "data", "model.name": "churn", "model.engine": "native"}
    return load(environment={}, overrides=values).settings


def add(settings: Settings, store: SqlStore, folder: Path, name: str = "churn.joblib", **options: Any) -> Any:
    values = {"reference": folder / "held_out.csv", "author": "ada", **options}
    return add_version(
        settings, store.versions, AddOptions(folder / name, **values), now=NOW, trust=lambda _: True
    )


def test_a_version_is_opened_from_the_registry_alone(
    settings: Settings, store: SqlStore, tmp_path: Path
) -> None:
    added: AddedVersion = add(settings, store, tmp_path, note="the first")
    assert added.is_new
    assert added.golden_rows
    assert {file.role for file in added.version.files} == {"model", "reference", "golden"}
    assert added.version.options["model"]["target"] == "churned"
    assert added.version.options["columns"]["dtypes"] == {"zip": "str"} or "zip" not in FRAME
    for file in (tmp_path / "churn.joblib", tmp_path / "held_out.csv"):
        file.unlink()
    (version,) = store.versions.newest(model="churn")
    assert version == added.version
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "replica"})
    opened = open_version_with_reference(elsewhere, store.versions, version)
    served = open_version(elsewhere, store.versions, version)
    assert served.version == opened.model.version == version.version
    assert served.answer([ROW]) == opened.model.answer([ROW])
    assert opened.reference.labels is not None


def test_a_version_has_its_own_threshold_or_that_of_the_settings(
    settings: Settings, store: SqlStore, tmp_path: Path
) -> None:
    plain = add(settings, store, tmp_path).version
    model = settings.model.model_copy(update={"threshold": {"yes": 0.8}})
    configured = settings.model_copy(update={"model": model})
    added = add(configured, store, tmp_path)
    assert added.is_new
    assert added.version.version == f"{plain.version}-yes-0.8"
    other = add(configured, store, tmp_path, threshold="no=0.9").version
    assert other.version == f"{plain.version}-no-0.9"
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "replica"})
    for version in added.version, other, plain:  # each with the golden answers of the library
        assert version.file("golden") is not None
        assert open_version(elsewhere, store.versions, version).version == version.version
        opened = open_version_with_reference(elsewhere, store.versions, version)
        shares = opened.reference.columns["probability of yes"]
        expected = {plain.version: shares >= 0.5, other.version: shares > 0.1}.get(
            version.version, shares >= 0.8
        )
        assert (opened.reference.columns["prediction"] == "yes").tolist() == expected.tolist()
    with pytest.raises(ModelError, match="has no class 'ja'"):
        add(settings, store, tmp_path, threshold="ja=0.9")


def test_a_known_version_stays_as_it_is(settings: Settings, store: SqlStore, tmp_path: Path) -> None:
    first = add(settings, store, tmp_path)
    again = add(settings, store, tmp_path, author="bob", note="again")
    assert not again.is_new
    assert again.version == first.version


def test_the_model_of_the_settings_registers_itself(
    settings: Settings, store: SqlStore, tmp_path: Path
) -> None:
    added = add(settings, store, tmp_path)
    sha256 = added.version.file("model").sha256
    values = {"path": tmp_path / "churn.joblib", "reference": tmp_path / "held_out.csv", "sha256": sha256}
    columns = settings.columns.model_copy(update={"exclude": ("customer", "churned")})
    configured = settings.model_copy(
        update={"model": settings.model.model_copy(update=values), "columns": columns}
    )
    model = open_serving_model(configured)
    registry = memory_store()
    change = register_champion(configured, registry.versions, model, NOW)
    assert (change.version, change.author) == (model.version, "settings")
    assert register_champion(configured, registry.versions, model, NOW) == change
    (version,) = registry.versions.newest(model="churn")
    assert version.author == "settings"
    assert open_version(configured, registry.versions, version).answer([ROW]) == model.answer([ROW])
    registry.close()


def test_a_damaged_or_missing_file_is_refused(settings: Settings, store: SqlStore, tmp_path: Path) -> None:
    version = add(settings, store, tmp_path).version
    with store.connections.write() as connection:
        connection.execute(model_files.update().values(content=b"other"))
    with pytest.raises(ModelError, match=r"churn\.joblib .* is damaged in the registry: add it again"):
        open_version(settings, store.versions, version)
    with store.connections.write() as connection:
        connection.execute(sa.delete(model_files))
    with pytest.raises(ModelError, match="is missing in the registry"):
        open_version(settings, store.versions, version)
    with pytest.raises(ModelError, match=r"are not in the registry: add .*joblib with"):
        open_version(settings, store.versions, replace(version, files=()))


def test_a_version_that_is_another_one_here_is_refused(
    settings: Settings, store: SqlStore, tmp_path: Path
) -> None:
    version = replace(add(settings, store, tmp_path).version, version="0" * 12)
    version = replace(version, files=tuple(f for f in version.files if f.role != "golden"))
    with pytest.raises(ModelError, match="not the registered version 000000000000"):
        open_version(settings, store.versions, version)


def test_a_large_file_is_refused(store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_files, "MAX_BYTES", 10)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a").write_bytes(b"x" * 6)
    write_version_file(store.versions, "model", folder / "a")
    (folder / "b").write_bytes(b"x" * 6)
    with pytest.raises(ConfigError, match="the limit of a registered folder"):
        write_version_file(store.versions, "model", folder)
    (folder / "b").write_bytes(b"x" * 11)
    with pytest.raises(ConfigError, match="the limit of a registered file"):
        write_version_file(store.versions, "model", folder / "b")
    with pytest.raises(ConfigError, match=r"cannot read .*missing"):
        write_version_file(store.versions, "model", folder / "missing")


def test_a_folder_travels_as_an_archive(store: SqlStore, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    content = {"MLmodel": b"flavors: {}", "data/größe.bin": bytes(range(256)) * 9000}
    for name, data in content.items():
        (folder / name).write_bytes(data)
    file = write_version_file(store.versions, "model", folder)
    assert file == write_version_file(store.versions, "model", folder)
    for _ in range(2):
        opened = open_version_file(store.versions, file, tmp_path / "replica")
        files = {p.relative_to(opened).as_posix(): p.read_bytes() for p in opened.rglob("*") if p.is_file()}
        assert files == content
    (folder / "outside").symlink_to(tmp_path)
    (folder / "escape").symlink_to(__file__)
    with pytest.raises(ModelError, match="outside the model's folder"):
        write_version_file(store.versions, "model", folder)


def test_files_are_encrypted_once_and_opened_with_the_same_key_alone(
    settings: Settings, store: SqlStore, tmp_path: Path
) -> None:
    plain = add(settings, store, tmp_path).version
    key, elsewhere = b"k" * 64, tmp_path / "replica"

    def contents() -> bytes:
        files = store.versions.newest(model="churn")[0].files
        return b"".join(b"".join(store.versions.read_file(file.content_id)) for file in files)

    assert b"10115" in contents()
    for _ in range(2):
        encrypt_version_files(store.versions, store.versions.newest(model="churn")[0], key)
        (version,) = store.versions.newest(model="churn")
        assert [f.sha256 for f in version.files] == [f.sha256 for f in plain.files]
        assert all(f.encrypted_with for f in version.files)
        assert not any(store.versions.has_file(f.sha256, 1) for f in plain.files)
        assert b"10115" not in contents()
    reference = version.file("reference")
    assert reference
    opened = open_version_file(store.versions, reference, elsewhere, key)
    assert opened.read_bytes() == (tmp_path / "held_out.csv").read_bytes()
    for other in (b"", b"o" * 64):
        with pytest.raises(ModelError, match="with another key than that of"):
            open_version_file(store.versions, reference, tmp_path / "other", other)
    assert write_version_file(store.versions, "reference", tmp_path / "held_out.csv", key) == reference


def test_a_start_with_a_masked_feature_encrypts_what_was_registered_before(
    settings: Settings, store: SqlStore, tmp_path: Path
) -> None:
    added = add(settings, store, tmp_path).version
    masked = settings.model_copy(
        update={"columns": settings.columns.model_copy(update={"log": {"zip": "hash"}})}
    )
    model = open_version(settings, store.versions, added)
    register_champion(masked, store.versions, model, NOW)
    (version,) = store.versions.newest(model="churn")
    assert all(file.encrypted_with for file in version.files)
    assert open_version(masked, store.versions, version).version == added.version
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "replica"})
    with pytest.raises(ModelError, match="with another key"):
        open_version(elsewhere, store.versions, version)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "link"])
def test_an_archive_with_other_entries_is_refused(name: str, store: SqlStore, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a").write_bytes(b"a")
    file = write_version_file(store.versions, "model", folder)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        if name == "link":
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(entry)
    content = buffer.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    store.versions.write_file(sha256, [content])
    with pytest.raises(ModelError, match="which is not allowed"):
        open_version_file(store.versions, replace(file, sha256=sha256), tmp_path / "replica")
    assert not (tmp_path / "evil").exists()


def test_differences_are_those_that_clients_notice(
    settings: Settings, store: SqlStore, tmp_path: Path
) -> None:
    version = add(settings, store, tmp_path).version
    assert differences(version, version) == []
    tenure = VersionFeature("tenure", "categorical", False, "str")
    rest = tuple(f for f in version.features if f.name not in ("tenure", "plan"))
    other = replace(
        version,
        features=(tenure, *rest, replace(tenure, name="age")),
        classes=("yes", "no"),
        task="regression",
    )
    assert differences(other, version) == [
        "task regression instead of classification",
        "classes ['yes', 'no'] instead of ['no', 'yes']",
        "feature 'plan' is missing",
        "feature 'age' is new",
        "feature 'tenure' is categorical instead of numeric",
    ]
    nullable = replace(version, features=tuple(replace(f, nullable=True) for f in version.features))
    assert "feature 'tenure' must not be null any more" in differences(version, nullable)
    assert differences(nullable, version) == []
    assert json.dumps(version.options)


def test_a_model_of_other_features_is_added_with_its_differences(
    settings: Settings, store: SqlStore, tmp_path: Path
) -> None:
    first = add(settings, store, tmp_path).version
    store.versions.settle(first.version, NOW, model="churn")
    joblib.dump(
        make_pipeline(LogisticRegression()).fit(FRAME[["tenure"]], FRAME.churned), tmp_path / "b.joblib"
    )
    added = add(settings, store, tmp_path, "b.joblib")
    assert added.champion == first.version
    assert added.differences == tuple(f"feature '{name}' is missing" for name in ("plan", "zip", "city"))
