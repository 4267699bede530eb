#!/usr/bin/env bash
# The wheel alone, without the sources beside it: it must carry templates, scripts and migrations.
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
.venv/bin/pip wheel --quiet --disable-pip-version-check --no-deps -w "$place" .
.venv/bin/python -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check -c constraints.txt "$place"/driftbell-*.whl
cd "$place"
"$place/venv/bin/driftbell" demo --exit
"$place/venv/bin/python" - <<'PY'
import importlib.util
assert importlib.util.find_spec("evidently") is None, "the core must not need Evidently"
assert importlib.util.find_spec("pandas") is None, "the core must not need pandas"
assert importlib.util.find_spec("onnxruntime") is None, "the core must not need ONNX Runtime"
from driftbell.ops.grafana import dashboards
assert len(dashboards()) == 2, "the wheel must carry the dashboards"
PY
echo "The wheel tells the story by itself."
