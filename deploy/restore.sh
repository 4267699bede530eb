#!/usr/bin/env bash
# Restore a backup of the stack; see usage below and docs/guides/backup.md.
set -euo pipefail

usage() {
  cat >&2 <<'TEXT'
usage: deploy/restore.sh SOURCE

Restores SOURCE, a folder written by deploy/backup.sh, into a stack without volumes: on a new machine, or after
`docker compose down --volumes` removed the old data. Then start the stack with `docker compose up -d`.
TEXT
  exit 2
}

log() { printf 'restore: %s\n' "$*" >&2; }

if [ $# -ne 1 ] || [ -z "$1" ] || [ "${1#-}" != "$1" ]; then usage; fi
for name in driftbell.tar prometheus.tar loki.tar grafana.tar SHA256SUMS; do
  [ -f "$1/$name" ] || { log "$1 is not a complete backup: $name is missing"; exit 2; }
done
source=$(cd "$1" && pwd)
(cd "$source" && sha256sum --check --strict --quiet SHA256SUMS) || { log "$1 is damaged, see above"; exit 2; }
cd "$(dirname "$0")/.."

project=$(docker compose config | sed -n 's/^name: //p')
[ -n "$project" ] || { log 'docker compose config does not contain a project name'; exit 2; }
if [ -n "$(docker volume ls --quiet --filter "label=com.docker.compose.project=$project")" ]; then
  log "the stack '$project' has volumes: restore elsewhere, or remove all its data with docker compose down --volumes"
  exit 2
fi

trap 'log "failed; before you try again, run docker compose down --volumes"' ERR
# Create the containers without starting them: the volumes exist, and nothing writes to them.
docker compose create ml_service prometheus loki grafana
docker compose cp - prometheus:/prometheus <"$source/prometheus.tar"
docker compose cp - loki:/loki <"$source/loki.tar"
docker compose cp - grafana:/var/lib/grafana <"$source/grafana.tar"
docker compose cp - ml_service:/data <"$source/driftbell.tar"
docker compose run --rm --no-deps -T ml_service restore /data/driftbell-backup
docker compose run --rm --no-deps -T --entrypoint rm ml_service -r /data/driftbell-backup
log "restored; start the stack with docker compose up -d, then check it with driftbell doctor"
