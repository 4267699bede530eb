#!/usr/bin/env bash
# Back up the running stack; see usage below and docs/guides/backup.md.
set -euo pipefail
umask 077

usage() {
  cat >&2 <<'TEXT'
usage: deploy/backup.sh TARGET

Saves the stack to TARGET, a folder that must not exist: predictions, models and reports (online), metrics (online),
logs and Grafana (each stopped while it is copied). The variables of compose, such as COMPOSE_FILE and
COMPOSE_PROFILES, select the stack. TARGET contains personal data and Grafana's users.
TEXT
  exit 2
}

log() { printf 'backup: %s\n' "$*" >&2; }

# State to clean up on exit.
part='' stopped='' saved_inside='' snapshot=''
clean_up() {
  local code=$?
  trap - EXIT
  if [ -n "$stopped" ]; then
    docker compose start "$stopped" || { log "could not restart $stopped: docker compose start $stopped"; code=1; }
  fi
  if [ -n "$saved_inside" ]; then
    docker compose exec -T ml_service rm -r "$saved_inside" || log "could not remove $saved_inside in ml_service"
  fi
  if [ -n "$snapshot" ]; then
    docker compose exec -T prometheus rm -r "/prometheus/snapshots/$snapshot" ||
      log "could not remove /prometheus/snapshots/$snapshot in prometheus"
  fi
  if [ -n "$part" ]; then rm -rf "$part"; fi
  [ "$code" -eq 0 ] || log "failed; $target was not written"
  exit "$code"
}

# Predictions, models and reports: driftbell takes a consistent copy while it serves.
save_driftbell() {
  local folder=/data/driftbell-backup
  docker compose exec -T ml_service driftbell backup "$folder"
  saved_inside=$folder
  docker compose cp "ml_service:$folder" - >"$part/driftbell.tar"
  docker compose exec -T ml_service rm -r "$folder"
  saved_inside=''
}

# Metrics: Prometheus writes a snapshot, mostly of hard links, while it runs.
save_prometheus() {
  local address answer
  address=$(docker compose port prometheus 9090)
  answer=$(curl --fail --silent --show-error --max-time 300 --noproxy '*' \
    --request POST "http://$address/api/v1/admin/tsdb/snapshot")
  snapshot=$(sed -n 's/.*"name": *"\([0-9A-Za-z-]\{1,\}\)".*/\1/p' <<<"$answer")
  [ -n "$snapshot" ] || { log "Prometheus did not return a snapshot name: $answer"; return 1; }
  docker compose cp "prometheus:/prometheus/snapshots/$snapshot/." - >"$part/prometheus.tar"
  docker compose exec -T prometheus rm -r "/prometheus/snapshots/$snapshot"
  snapshot=''
}

# Copy a volume while its service is stopped. A service that was not running is not started.
save_stopped() {
  local service=$1 folder=$2 running
  running=$(docker compose ps --status running --quiet "$service")
  if [ -n "$running" ]; then
    stopped=$service
    docker compose stop "$service"
  fi
  docker compose cp "$service:$folder/." - >"$part/$service.tar"
  if [ -n "$running" ]; then
    docker compose start "$service"
    stopped=''
  fi
}

if [ $# -ne 1 ] || [ -z "$1" ] || [ "${1#-}" != "$1" ]; then usage; fi
if [ -e "$1" ] || [ -e "$1.part" ]; then
  log "$1 (or $1.part) already exists: choose another folder"
  exit 2
fi
mkdir -p "$(dirname "$1")"
target=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cd "$(dirname "$0")/.."

trap clean_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
part=$target.part
mkdir "$part"
save_driftbell
save_prometheus
save_stopped loki /loki
save_stopped grafana /var/lib/grafana
(cd "$part" && sha256sum ./*.tar >SHA256SUMS)
sync "$part"/* "$part"
mv -T "$part" "$target"
part=''
log "saved to $target: $(du -sh "$target" | cut -f1)"
