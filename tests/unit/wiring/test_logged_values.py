from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import EXAMPLE, with_models
from tests.external import applicants
from tests.external import settings as external_settings

from driftbell.config.settings import Settings, load
from driftbell.errors import ConfigError, PredictError
from driftbell.wiring.logged_values import as_logged, logged_values
from driftbell.wiring.model import open_model

PETAL, SEPAL = "petal length (cm)", "sepal width (cm)"


def iris(folder: Path, **forms: str) -> Settings:
    with_models(folder)
    return load(environment={}, overrides={"data_dir": folder, "columns.log": forms}).settings


def test_servers_and_checks_have_the_same_buckets(tmp_path: Path) -> None:
    settings = iris(tmp_path, **{PETAL: "bucket", SEPAL: "drop"})
    opened = open_model(settings)
    masked, logged = as_logged(settings, opened)
    served = logged_values(settings, opened.model)
    assert logged
    assert served
    assert served.id == logged.id
    assert masked.model.schema.names == served.names == tuple(n for n in EXAMPLE if n != SEPAL)
    example = EXAMPLE | {PETAL: 1.43}
    row = served.row([example[name] for name in opened.model.schema.names])
    assert row[1] in masked.reference.columns[PETAL]
    assert row[1] != 1.43
    assert SEPAL not in masked.reference.columns
    with pytest.raises(PredictError, match="cannot predict from its log"):
        masked.model.predict(masked.reference.columns)


def test_buckets_of_a_model_that_is_served_elsewhere(tmp_path: Path) -> None:
    applicants(300, seed=0).to_parquet(tmp_path / "reference.parquet")
    environment = {f"DRIFTBELL_{k}": v for k, v in external_settings(tmp_path).items()}
    environment |= {
        "DRIFTBELL_DATA_DIR": str(tmp_path),
        "DRIFTBELL_COLUMNS__LOG": "income=bucket,region=hash",
    }
    settings = load(environment=environment).settings
    opened = open_model(settings)
    served, logged = logged_values(settings, opened.model), as_logged(settings, opened)[1]
    assert served
    assert logged
    assert served.id == logged.id
    for name in ("default", "predicted", "p_yes"):
        wrong = load(environment={**environment, "DRIFTBELL_COLUMNS__LOG": f"{name}=drop"}).settings
        with pytest.raises(ConfigError, match=f"columns.log: '{name}' is the .* always logged"):
            logged_values(wrong, opened.model)


def test_everything_is_logged_without_the_setting_and_no_key_is_made(tmp_path: Path) -> None:
    settings = iris(tmp_path, **{PETAL: "full"})
    opened = open_model(settings)
    assert as_logged(settings, opened) == (opened, None)
    assert logged_values(settings, opened.model) is None
    assert not list(tmp_path.glob("log.key*"))


def test_a_column_that_is_no_feature_is_named(tmp_path: Path) -> None:
    settings = iris(tmp_path, **{"petal lenght (cm)": "drop"})
    with pytest.raises(ConfigError, match=r"no feature 'petal lenght \(cm\)': did you mean 'petal length"):
        logged_values(settings, open_model(settings).model)
