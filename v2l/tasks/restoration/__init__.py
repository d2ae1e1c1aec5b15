"""token grid with masked or corrupted cells ──► predicted tokens ──► image."""
