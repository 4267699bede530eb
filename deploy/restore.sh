#!/usr/bin/env bash
# Bring a backup of the stack back; see usage below and docs/guides/backup.md.
set -euo pipefail

usage() {
  cat >&2 <<'TEXT'
usage: deploy/restore.sh SOURCE

Brings SOURCE, a folder written by deploy/backup.sh, back into a stack without volumes: a new machine, or one on which
`docker compose down --volumes` has removed the old data. Then start the stack with `docker compose up -d`.
TEXT
  exit 2
}

say() { printf 'restore: %s\n' "$*" >&2; }

[ $# -eq 1 ] && [ -n "$1" ] && [ "${1#-}" = "$1" ] || usage
for name in driftbell.tar prometheus.tar loki.tar grafana.tar SHA256SUMS; do
  [ -f "$1/$name" ] || { say "$1 is no whole backup: $name is missing"; exit 2; }
done
source=$(cd "$1" && pwd)
(cd "$source" && sha256sum --check --strict --quiet SHA256SUMS) || { say "$1 is damaged, see above"; exit 2; }
cd "$(dirname "$0")/.."

project=$(docker compose config | sed -n 's/^name: //p')
[ -n "$project" ] || { say 'docker compose config names no project'; exit 2; }
if [ -n "$(docker volume ls --quiet --filter "label=com.docker.compose.project=$project")" ]; then
  say "the stack '$project' has volumes: restore elsewhere, or remove all its data with docker compose down --volumes"
  exit 2
fi

trap 'say "failed; before another try: docker compose down --volumes"' ERR
# Containers that do not run yet: their volumes exist, and nothing writes to them.
docker compose create ml_service prometheus loki grafana
docker compose cp - prometheus:/prometheus <"$source/prometheus.tar"
docker compose cp - loki:/loki <"$source/loki.tar"
docker compose cp - grafana:/var/lib/grafana <"$source/grafana.tar"
docker compose cp - ml_service:/data <"$source/driftbell.tar"
docker compose run --rm --no-deps -T ml_service restore /data/driftbell-backup
docker compose run --rm --no-deps -T --entrypoint rm ml_service -r /data/driftbell-backup
say "restored; start it with docker compose up -d, then look with driftbell doctor"
