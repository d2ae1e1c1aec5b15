"""Plain implementations of the official steps: no batches, no caches.

Benchmarks and tests compare v2l with them, in results and in speed.
"""
