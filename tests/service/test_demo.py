"""The demo succeeds, independent of the working folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.service
def test_the_demo_raises_an_alarm_only_on_drifted_traffic_and_names_the_features(tmp_path: Path) -> None:
    (tmp_path / "driftbell.toml").write_text("[check]\nevery = 'off'\n")  # not the demo's
    done = subprocess.run(
        [sys.executable, "-m", "driftbell", "demo", "--exit"],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    output = " ".join(done.stdout.split())
    assert "OK No drift" in output
    assert "ALARM The model " in output  # "loses …", or "probably …" if the check came before most rows
    assert "Drift in sepal length (cm), sepal width (cm) and petal length (cm)" in output
    assert list(tmp_path.iterdir()) == [tmp_path / "driftbell.toml"]
