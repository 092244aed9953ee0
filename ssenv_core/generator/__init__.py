"""The generator: trained, kept in a file, and asked for sounds."""
