"""patch features of a joint encoder ──► soft tokens: the tokenizers resampler, projector and sea."""
