"""For services that are not ours: they send their predictions to driftbell."""
