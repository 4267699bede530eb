"""The service as tutorials build it: FastAPI, a data frame a row, a deque, Evidently in a thread."""

import sys
import threading
import time
from collections import deque
from typing import Any

import pandas as pd
import uvicorn
from evidently import Dataset, Report
from evidently.presets import DataDriftPreset
from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic import BaseModel, Field
from sklearn.datasets import load_iris

from serve.servers.forest import NAMES, answer, load

model = load()
model.feature_names_in_ = list(NAMES)  # as if it had been fitted on a data frame
reference = pd.DataFrame(load_iris().data, columns=list(NAMES))
window: deque[dict[str, float]] = deque(maxlen=500)
app = FastAPI()
Instrumentator().instrument(app).expose(app)


class Flower(BaseModel):
    """The body of `/predict`."""

    sepal_length: float = Field(alias="sepal length (cm)")
    sepal_width: float = Field(alias="sepal width (cm)")
    petal_length: float = Field(alias="petal length (cm)")
    petal_width: float = Field(alias="petal width (cm)")


@app.post("/predict")
def predict(flower: Flower) -> dict[str, Any]:
    window.append(row := flower.model_dump(by_alias=True))
    frame = pd.DataFrame([row])
    return {"prediction": int(model.predict(frame)[0]), **answer(model.predict_proba(frame)[0])}


@app.post("/monitor/trigger_now")
def check() -> None:
    if len(rows := list(window)) >= 10:
        tables = Dataset.from_pandas(pd.DataFrame(rows)), Dataset.from_pandas(reference)
        Report([DataDriftPreset()]).run(*tables).get_html_str(as_iframe=False)


def check_every(seconds: float) -> None:
    while True:
        time.sleep(seconds)
        check()


if __name__ == "__main__":
    threading.Thread(target=check_every, args=(300.0,), daemon=True).start()
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]))
