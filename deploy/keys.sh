#!/usr/bin/env bash
# Create API keys for the running stack: one for Prometheus and Alertmanager, one for you. From the first key on, the
# service requires one. Arguments are those of `docker compose`, such as --profile alerts.
set -euo pipefail
cd "$(dirname "$0")/.."

create_key() { # create_key NAME SCOPE FILE MODE: keeps an existing key
  if [ -s "secrets/$3" ]; then
    echo "secrets/$3 exists, so no key '$1' is created"
    return
  fi
  key=$(docker compose exec -T ml_service driftbell keys create "$1" --scope "$2")
  (umask 077 && printf '%s\n' "$key" >"secrets/$3")
  chmod "$4" "secrets/$3"
  echo "Created the key '$1' ($2): secrets/$3"
}

# Only the owner can read the folder; the first file is mounted and read by the users of two services.
mkdir -p -m 700 secrets
create_key stack read service_key 644
create_key admin admin admin_key 600
if ! grep -qs '^SERVICE_KEY_FILE=' .env; then
  # complete an unterminated last line first
  if [ -n "$(tail -c 1 .env 2>/dev/null)" ]; then echo >>.env; fi
  echo 'SERVICE_KEY_FILE=./secrets/service_key' >>.env
  echo "Set SERVICE_KEY_FILE in .env"
fi
docker compose "$@" up --detach --wait
