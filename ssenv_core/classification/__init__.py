"""Networks and classic features that predict the class of a sound."""
