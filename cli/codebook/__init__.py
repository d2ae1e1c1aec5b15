"""v2l codebook and v2l build-codebook: one command, one file."""
