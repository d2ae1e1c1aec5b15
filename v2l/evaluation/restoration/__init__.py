"""clean photographs ──► figures of restoration: the test cases, the protocols, the baselines, the report."""
