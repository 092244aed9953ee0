"""Blind listening tests: their design, the page that hosts them, the ratings and their analysis."""
