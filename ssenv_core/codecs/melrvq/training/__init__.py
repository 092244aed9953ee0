"""How the embedded codec is trained."""
