"""image ⇄ a grid of learned codes: VQ-VAE (arXiv 1711.00937) and VQGAN (arXiv 2012.09841)."""
