"""image ⇄ a short sequence of latents, each a word of the frozen codebook or a learned code: TiTok."""
