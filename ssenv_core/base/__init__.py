"""What every room stands on: errors, files, folders, devices, seeds, progress, audio, and the loop that trains."""
