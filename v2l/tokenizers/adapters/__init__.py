"""patch features of a joint encoder ──► soft tokens: resampler, uhd, projector, clusters, sea and sam."""
