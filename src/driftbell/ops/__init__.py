"""Operating a stack: supervisor, backup, doctor, Grafana, certificates, label upload."""
