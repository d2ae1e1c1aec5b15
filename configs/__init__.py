"""Presets, found by name in a checkout and in a wheel alike; `v2l.config` reads them."""
