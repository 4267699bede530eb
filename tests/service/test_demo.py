"""The demo tells its story, whatever the working folder says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.service
def test_demo_is_quiet_then_rings_and_names_the_three_features(tmp_path: Path) -> None:
    (tmp_path / "driftbell.toml").write_text("[check]\nevery = 'off'\n")  # not the demo's
    done = subprocess.run(
        [sys.executable, "-m", "driftbell", "demo", "--exit"],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OK  No drift" in done.stdout
    assert "ALARM  The model loses" in done.stdout
    assert "Drift in sepal length (cm), sepal width (cm) and petal length (cm)" in done.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "driftbell.toml"]
