"""SoundStorm: masks, model and decoding of residual codec tokens. Tensors in, tensors out: no files, no device chosen, nothing printed."""
