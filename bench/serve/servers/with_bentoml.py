"""The forest in BentoML, whose adaptive batching is on.

bentoml serve serve.servers.with_bentoml:Forest --host 127.0.0.1 --port PORT
"""

from typing import Any

import bentoml
import numpy as np
from numpy.typing import NDArray

from serve.servers.forest import answer, load


@bentoml.service(workers=1, traffic={"timeout": 60})
class Forest:
    """One forest, asked for many rows at once."""

    def __init__(self) -> None:
        self.forest = load()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=10_000)  # type: ignore[untyped-decorator]
    def predict(self, rows: NDArray[np.float64]) -> list[dict[str, Any]]:
        """Answer all the rows that have come together."""
        return [answer(found) for found in self.forest.predict_proba(rows)]
