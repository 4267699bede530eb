"""The forest in LitServe, whose batching is on.

python -m serve.servers.with_litserve PORT
"""

import sys
from typing import Any

import litserve
import numpy as np

from serve.servers.forest import NAMES, answer, load


class Forest(litserve.LitAPI):  # type: ignore[misc]
    """One forest, asked for many rows at once."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.forest = load()

    def decode_request(self, request: dict[str, float]) -> list[float]:
        """Take the features in the model's order."""
        return [request[name] for name in NAMES]

    def batch(self, inputs: list[list[float]]) -> Any:
        """Make one table of many rows."""
        return np.array(inputs)

    def predict(self, x: Any) -> Any:
        """Ask the forest."""
        return self.forest.predict_proba(x)

    def unbatch(self, output: Any) -> list[Any]:
        """Take the rows apart."""
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Say it in JSON."""
        return answer(output)


if __name__ == "__main__":
    api = Forest(max_batch_size=64, batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="error", generate_client_file=False)
