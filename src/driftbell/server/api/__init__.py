"""JSON routes for labels, alarms, performance and the monitor."""
