#!/usr/bin/env bash
# Makes the secrets of the stack that are missing, outside git, and tells compose where they are.
set -euo pipefail
cd "$(dirname "$0")/.."

# The folder is the owner's alone; the file in it is mounted by itself, and read by Grafana's own user.
mkdir -p -m 700 secrets
if [ ! -s secrets/grafana_admin_password ]; then
  head -c 24 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' >secrets/grafana_admin_password
  chmod 644 secrets/grafana_admin_password
  echo "Made a password for Grafana's user admin: secrets/grafana_admin_password"
fi
if ! grep -qs '^GRAFANA_ADMIN_PASSWORD_FILE=' .env; then
  # a last line without an end would become one with ours
  if [ -n "$(tail -c 1 .env 2>/dev/null)" ]; then echo >>.env; fi
  echo 'GRAFANA_ADMIN_PASSWORD_FILE=./secrets/grafana_admin_password' >>.env
  echo "Compose finds it by GRAFANA_ADMIN_PASSWORD_FILE in .env"
fi
