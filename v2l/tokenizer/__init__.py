"""image ⇄ tokens: CNN encoder, quantizer, decoder."""
