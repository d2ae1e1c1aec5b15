"""patch features of a joint encoder ──► soft tokens: resampler, uhd, projector, sea and sam."""
