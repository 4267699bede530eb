"""One call of each method of the store."""

from tests.contract.builders import IRIS, NOW, annotation, api_key, check, label, notification, prediction

from driftbell.journal.line import encode_line
from driftbell.records import Archive, CheckKind, Delivery, Lease, Refusal, ShadowPrediction, Verdict

LEASE = Lease("a", 1, NOW)
LEASE_TERM = {"now": NOW, "seconds": 1, "next_run": None}
SHADOW = ShadowPrediction("id-1", NOW, "iris", "v2", "setosa", {})
PAIR = {"model": "iris", "champion": "v1", "shadow": "v2"}
ARCHIVE = Archive(1, "iris", "v1", "2026-01-31", 1001, 1009, 9, "file.parquet", NOW, "planned")

CALLS = {
    "predictions.append": lambda store: store.predictions.append([prediction(1)]),
    "predictions.append_lines": lambda store: store.predictions.append_lines([encode_line(prediction(1))]),
    "predictions.window": lambda store: store.predictions.window(1, **IRIS),
    "predictions.count": lambda store: store.predictions.count(**IRIS),
    "predictions.traffic": lambda store: store.predictions.traffic(NOW, 60),
    "predictions.traffic_between": lambda store: store.predictions.traffic_between(0, 9, 60),
    "predictions.numbers_since": lambda store: store.predictions.numbers_since(NOW),
    "predictions.get": lambda store: store.predictions.get("x"),
    "predictions.newest_time": lambda store: store.predictions.newest_time(**IRIS),
    "predictions.counts_by_version": lambda store: store.predictions.counts_by_version(9, model="iris"),
    "predictions.versions_by_id": lambda store: store.predictions.versions_by_id(["x"], model="iris"),
    "predictions.after": lambda store: store.predictions.after(0, 1, **IRIS),
    "labels.add": lambda store: store.labels.add([label(1)]),
    "labels.newest": lambda store: store.labels.newest(1, **IRIS),
    "labels.after": lambda store: store.labels.after(0, 1, **IRIS),
    "labels.realized": lambda store: store.labels.realized(1, **IRIS),
    "labels.realized_errors": lambda store: store.labels.realized_errors(1, **IRIS),
    "labels.coverage": lambda store: store.labels.coverage(1, **IRIS),
    "labels.labelled": lambda store: store.labels.labelled(["x"]),
    "labels.counts": lambda store: store.labels.counts(1, 9, **IRIS),
    "labels.totals": lambda store: store.labels.totals(**IRIS),
    "checks.save": lambda store: store.checks.save(check(), LEASE),
    "notifications.last": lambda store: store.notifications.last(**IRIS),
    "checks.state_since": lambda store: store.checks.state_since({Verdict.OK}, **IRIS),
    "alarms.current": lambda store: store.alarms.current(**IRIS),
    "alarms.get": lambda store: store.alarms.get("x"),
    "alarms.newest": lambda store: store.alarms.newest(1),
    "alarms.annotated_after": lambda store: store.alarms.annotated_after(None, **IRIS),
    "alarms.silent_until": lambda store: store.alarms.silent_until(**IRIS),
    "alarms.annotate": lambda store: store.alarms.annotate("x", annotation("false")),
    "alarms.close_replaced": lambda store: store.alarms.close_replaced(["v2"], "", NOW, LEASE, model="iris"),
    "alarms.totals": lambda store: store.alarms.totals(**IRIS),
    "predictions.first_since": lambda store: store.predictions.first_since(NOW, **IRIS),
    "notifications.pending": lambda store: store.notifications.pending(),
    "notifications.save_delivery": lambda store: store.notifications.save_delivery(
        Delivery(notification(), NOW), LEASE
    ),
    "notifications.totals": lambda store: store.notifications.totals(),
    "checks.get": lambda store: store.checks.get("x"),
    "checks.newest": lambda store: store.checks.newest(1),
    "checks.totals": lambda store: store.checks.totals(),
    "coordination.request_check": lambda store: store.coordination.request_check(CheckKind.MANUAL, NOW),
    "coordination.pending_request": lambda store: store.coordination.pending_request(),
    "coordination.answer_request": lambda store: store.coordination.answer_request("x", check_id=None),
    "coordination.get_request": lambda store: store.coordination.get_request("x"),
    "coordination.take_lease": lambda store: store.coordination.take_lease("a", **LEASE_TERM),
    "coordination.release_lease": lambda store: store.coordination.release_lease("a"),
    "coordination.schedule": lambda store: store.coordination.schedule(NOW, LEASE),
    "coordination.lease": lambda store: store.coordination.lease(),
    "refusals.add": lambda store: store.refusals.add([Refusal("x", "type", "n/a", 1, 1)], NOW, **IRIS),
    "refusals.since": lambda store: store.refusals.since("2026-01-31", **IRIS),
    "shadows.append": lambda store: store.shadows.append([SHADOW]),
    "shadows.pairs": lambda store: store.shadows.pairs(1, **PAIR),
    "shadows.labelled_pairs": lambda store: store.shadows.labelled_pairs(1, **PAIR),
    "shadows.versions": lambda store: store.shadows.versions("iris"),
    "keys.add": lambda store: store.keys.add(api_key()),
    "keys.all": lambda store: store.keys.all(),
    "keys.revoke": lambda store: store.keys.revoke("x", NOW),
    "keys.mark_used": lambda store: store.keys.mark_used(["x"], NOW),
    "retention.plan": lambda store: store.retention.plan(NOW, 1, LEASE, now=NOW, to_file=True),
    "retention.rows": lambda store: store.retention.rows(ARCHIVE),
    "retention.mark_written": lambda store: store.retention.mark_written(ARCHIVE, 0, LEASE),
    "retention.close_labels": lambda store: store.retention.close_labels(ARCHIVE, LEASE),
    "retention.record_outcome": lambda store: store.retention.record_outcome("", LEASE),
    "retention.record_failure": lambda store: store.retention.record_failure(ARCHIVE, "disk full", LEASE),
    "retention.delete": lambda store: store.retention.delete(ARCHIVE, 1, LEASE),
    "retention.prune": lambda store: store.retention.prune(NOW, 1, LEASE),
    "retention.totals": lambda store: store.retention.totals(),
    "ping": lambda store: store.ping(),
}
