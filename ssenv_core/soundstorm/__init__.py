"""SoundStorm on tensors: inputs, masks, model and decoding. No files, no devices, no output."""
