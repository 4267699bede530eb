#!/usr/bin/env bash
# Create the missing secrets of the stack, outside git, and configure compose to use them.
set -euo pipefail
cd "$(dirname "$0")/.."

create_password() { # create_password NAME DESCRIPTION: keeps an existing password
  if [ -s "secrets/$1" ]; then return; fi
  head -c 24 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' >"secrets/$1"
  chmod 644 "secrets/$1"
  echo "Created a password for $2: secrets/$1"
}

# Only the owner can read the folder; each file is mounted separately and read by the user of its service.
mkdir -p -m 700 secrets
create_password grafana_admin_password "Grafana's user admin"
create_password postgres_password "PostgreSQL's user driftbell (docker-compose.postgres.yaml)"
if [ ! -s secrets/log_url ]; then
  echo "postgresql://driftbell:$(cat secrets/postgres_password)@postgres:5432/driftbell" >secrets/log_url
  chmod 644 secrets/log_url
fi
if ! grep -qs '^GRAFANA_ADMIN_PASSWORD_FILE=' .env; then
  # complete an unterminated last line first
  if [ -n "$(tail -c 1 .env 2>/dev/null)" ]; then echo >>.env; fi
  echo 'GRAFANA_ADMIN_PASSWORD_FILE=./secrets/grafana_admin_password' >>.env
  echo "Set GRAFANA_ADMIN_PASSWORD_FILE in .env"
fi
