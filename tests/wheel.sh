#!/usr/bin/env bash
# The built wheel without the sources: the base install checks tables, the extra `serve` runs the demo.
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
.venv/bin/pip wheel --quiet --disable-pip-version-check --no-deps -w "$place" .
.venv/bin/python -m venv "$place/venv"
install() { "$place/venv/bin/pip" install --quiet --disable-pip-version-check -c constraints.txt "$@"; }
wheel=$(echo "$place"/driftbell-*.whl)
install "$wheel"
cd "$place"
python3 - <<'PY'
for name, offset in (("a.csv", 0), ("b.csv", 30)):
    rows = "\n".join(f"{i % 50 + offset},{'xy'[i % 2]}" for i in range(200))
    open(name, "w").write(f"age,plan\n{rows}\n")
PY
venv/bin/driftbell check a.csv a.csv
status=0
venv/bin/driftbell check a.csv b.csv || status=$?
[ "$status" = 1 ] || { echo "driftbell check a.csv b.csv must exit with 1, not $status" >&2; exit 1; }
status=0
venv/bin/driftbell serve 2> error.txt || status=$?
grep -q "driftbell\[serve\]" error.txt && [ "$status" = 2 ] || { cat error.txt >&2; echo "driftbell serve must name its extra" >&2; exit 1; }
venv/bin/python - <<'PY'
import importlib.util
import driftbell
for name in ("fastapi", "sqlalchemy", "uvicorn", "httpx", "pandas", "evidently", "onnxruntime"):
    assert importlib.util.find_spec(name) is None, f"the base install must not need {name}"
for name in driftbell.__all__:
    getattr(driftbell, name)
PY
cat > user.py <<'PY'
"""A user's file, checked by `mypy --strict` against the installed package's types."""
import driftbell


def drifted(reference: dict[str, list[float]], current: dict[str, list[float]]) -> list[str]:
    comparisons: tuple[driftbell.ColumnComparison, ...] = driftbell.compare(reference, current)
    judgement: driftbell.Judgement = driftbell.judge(comparisons, rows=len(current))
    if judgement.verdict is driftbell.Verdict.UNKNOWN:
        raise driftbell.DriftbellError(judgement.sentence)
    return list(judgement.drifted_columns)


schema: driftbell.Schema = driftbell.infer_schema({"age": [31.0]})
name: str = schema.features[0].name
kind: driftbell.Kind = schema.features[0].kind
PY
cd - >/dev/null
(cd "$place" && "$OLDPWD/.venv/bin/mypy" --strict --python-executable venv/bin/python user.py)
install "$wheel[serve]"
cd "$place"
venv/bin/driftbell demo --exit
venv/bin/python - <<'PY'
import importlib.util
for name in ("pandas", "evidently", "onnxruntime"):
    assert importlib.util.find_spec(name) is None, f"the extra serve must not need {name}"
from driftbell.ops.grafana import dashboards
assert len(dashboards()) == 2, "the wheel must carry the dashboards"
PY
echo "The wheel checks tables by itself, and serves with its extra."
