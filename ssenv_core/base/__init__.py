"""Errors, files, folders, devices, seeds, progress, audio, and the resumable training loop."""
