"""The Kubernetes API behind a protocol on plain dicts."""
