"""The output of a model that a command runs is on stderr, and only results are on stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from driftbell.models.conversion_cache import file_sha256

MODULE = """
import numpy as np

print("imported")


class Talkative:
    classes_ = np.array(["no", "yes"])

    def predict_proba(self, table):
        print("predicts")
        return np.where(np.asarray(table)[:, :1] > 0, [[0.1, 0.9]], [[0.9, 0.1]])

    def predict(self, table):
        return self.classes_[self.predict_proba(table).argmax(axis=1)]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "talkative.py").write_text(MODULE)
    rows = "\n".join(f"{(i % 21 - 10) / 10},{i % 7},{'yes' if i % 21 > 10 else 'no'}" for i in range(300))
    (tmp_path / "rows.csv").write_text(f"a,b,y\n{rows}\n")
    save = "import pickle, talkative; pickle.dump(talkative.Talkative(), open('m.pickle', 'wb'))"
    subprocess.run([sys.executable, "-c", save], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    (tmp_path / "driftbell.toml").write_text(
        '[model]\nname = "m"\npath = "m.pickle"\nreference = "rows.csv"\ntarget = "y"\n'
        f'sha256 = "{file_sha256(tmp_path / "m.pickle")}"\n[window]\nrows = 50\n'
    )
    return tmp_path


@pytest.mark.parametrize("command", [("rehearse",), ("gate", "--past", "rows.csv", "--label", "y")])
def test_only_results_are_on_stdout(folder: Path, command: tuple[str, ...]) -> None:
    """The first run loads and converts the model in a child process, the second one does not."""
    for run in ("first", "second"):
        done = subprocess.run(
            [sys.executable, "-m", "driftbell", *command, "--fault", "stuck:a", "--json"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path))},
            capture_output=True,
            check=False,
            text=True,
        )
        results = [json.loads(line) for line in done.stdout.splitlines()]
        assert all("fault" in each or "status" in each for each in results), run
        assert (len(results) > 0, done.returncode in (0, 1)) == (True, True), done.stderr
        assert set(done.stderr.splitlines()) == {"imported", "predicts"}
