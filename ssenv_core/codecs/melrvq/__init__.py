"""The embedded codec: log-band features, residual codebooks, and a decoder that draws its noise."""
