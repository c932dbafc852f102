"""Observe: metrics, their exporter, progress in the terminal."""
