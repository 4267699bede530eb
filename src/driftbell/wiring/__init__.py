"""Composition root: builds objects from settings, one file per process and some for shared parts."""
