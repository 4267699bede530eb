"""A FastAPI route with a constant answer: no model, no check of the input, no log, no metrics.

python -m serve.servers.route PORT
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI

ANSWER = {
    "class": "setosa",
    "class_id": 0,
    "probabilities": {"setosa": 1.0, "versicolor": 0.0, "virginica": 0.0},
    "model": "iris",
    "version": "1",
}

app = FastAPI()


@app.post("/predict")
async def predict() -> dict[str, Any]:
    """Answer the same, whatever is asked."""
    return ANSWER


@app.get("/health")
async def health() -> dict[str, str]:
    """Answer once it serves."""
    return {"status": "ok"}


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False
    )
