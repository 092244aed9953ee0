"""The training of the embedded codec."""
