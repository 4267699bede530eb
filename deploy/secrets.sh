#!/usr/bin/env bash
# Makes the secrets of the stack that are missing, outside git, and tells compose where they are.
set -euo pipefail
cd "$(dirname "$0")/.."

made() { # made NAME WHAT: a password, unless there is one
  if [ -s "secrets/$1" ]; then return; fi
  head -c 24 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' >"secrets/$1"
  chmod 644 "secrets/$1"
  echo "Made a password for $2: secrets/$1"
}

# The folder is the owner's alone; each file in it is mounted by itself, and read by its service's own user.
mkdir -p -m 700 secrets
made grafana_admin_password "Grafana's user admin"
made postgres_password "PostgreSQL's user driftbell (docker-compose.postgres.yaml)"
if [ ! -s secrets/log_url ]; then
  echo "postgresql://driftbell:$(cat secrets/postgres_password)@postgres:5432/driftbell" >secrets/log_url
  chmod 644 secrets/log_url
fi
if ! grep -qs '^GRAFANA_ADMIN_PASSWORD_FILE=' .env; then
  # a last line without an end would become one with ours
  if [ -n "$(tail -c 1 .env 2>/dev/null)" ]; then echo >>.env; fi
  echo 'GRAFANA_ADMIN_PASSWORD_FILE=./secrets/grafana_admin_password' >>.env
  echo "Compose finds it by GRAFANA_ADMIN_PASSWORD_FILE in .env"
fi
