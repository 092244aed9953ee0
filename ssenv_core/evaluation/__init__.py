"""How good sounds are: of a study, of two folders, and to listeners."""
