"""Programs that compare two Parquet files with other tools, at their defaults where they have some.

Each gets the paths of the reference and of the current table, and prints a number of columns.
"""

EVIDENTLY = """
import sys, pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
reference, current = map(pd.read_parquet, sys.argv[1:])
print(len(Report([DataDriftPreset()]).run(current, reference).dict()["metrics"]))
"""

NANNYML = """
import sys, pandas as pd, nannyml
reference, current = map(pd.read_parquet, sys.argv[1:])
calculator = nannyml.UnivariateDriftCalculator(column_names=list(reference), chunk_size=len(current))
result = calculator.fit(reference).calculate(current).filter(period="analysis").to_df()
print(sum(column[-1] == "alert" for column in result.columns))
"""

FROUROS = """
import sys, pandas as pd
from frouros.detectors.data_drift import ChiSquareTest, KSTest
reference, current = map(pd.read_parquet, sys.argv[1:])
results = []
for name in reference:
    detector = KSTest() if pd.api.types.is_numeric_dtype(reference[name]) else ChiSquareTest()
    detector.fit(X=reference[name].dropna().to_numpy())
    results.append(detector.compare(X=current[name].dropna().to_numpy())[0].p_value)
print(len(results))
"""

ALIBI_DETECT = """
import sys, numpy as np, pandas as pd
from alibi_detect.cd import TabularDrift
reference, current = map(pd.read_parquet, sys.argv[1:])
categories = {}
for i, name in enumerate(reference):
    if not pd.api.types.is_numeric_dtype(reference[name]):
        seen = sorted(set(reference[name]))
        categories[i] = len(seen)
        for table in (reference, current):
            table[name] = pd.Categorical(table[name], seen).codes
reference, current = (table.fillna(0).to_numpy(np.float32) for table in (reference, current))
detector = TabularDrift(reference, categories_per_feature=categories or None)
print(len(detector.predict(current, drift_type="feature")["data"]["is_drift"]))
"""

PEERS = {
    "Evidently": ("evidently", EVIDENTLY),
    "NannyML univariate": ("nannyml", NANNYML),
    "frouros KS and chi-square": ("frouros", FROUROS),
    "alibi-detect TabularDrift": ("alibi_detect", ALIBI_DETECT),
}
"""By name: the module that the program needs, and the program."""
