"""`POST /predict/batch`: JSON rows and Arrow IPC tables."""
