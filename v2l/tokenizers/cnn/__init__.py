"""image ⇄ grid of codes by a convolutional autoencoder: what the grid tokenizers share (V2L, VQGAN)."""
