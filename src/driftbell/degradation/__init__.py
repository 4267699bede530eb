"""Degradation: does the model perform worse? Sequential tests on labels, or on estimates without labels."""
