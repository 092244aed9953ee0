"""Panels for a live notebook: make, compare and rate sounds."""
