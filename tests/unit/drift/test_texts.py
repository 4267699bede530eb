"""Features of texts, which are counted some characters at a time."""

from __future__ import annotations

import numpy as np
import pytest

from driftbell.drift import texts
from driftbell.drift.texts import CLASSES, text_features


@pytest.mark.parametrize("block", [2**20, 5, 1])
def test_the_features_do_not_depend_on_the_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "BLOCK", block)
    cells = np.array(["Ab 1!", None, " ", "", "éé", "abcABC123 !", "x", "日 \ud800"], dtype=object)
    features = text_features(cells)
    assert (features.rows, features.blank, features.foreign) == (7, 2, 2)
    assert features.lengths.tolist() == [1, 2, 3, 5, 11]
    shares = dict(zip(CLASSES, features.shares, strict=True))
    assert shares["letters"].tolist() == pytest.approx([1 / 5, 3 / 11, 2 / 3, 1, 1])
    assert shares["capitals"].tolist() == pytest.approx([0, 0, 0, 1 / 5, 3 / 11])
    assert shares["digits"].tolist() == pytest.approx([0, 0, 0, 1 / 5, 3 / 11])
    assert shares["spaces"].tolist() == pytest.approx([0, 0, 1 / 11, 1 / 5, 1 / 3])
    assert shares["other characters"].tolist() == pytest.approx([0, 0, 0, 1 / 11, 1 / 5])
