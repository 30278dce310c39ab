"""The only place that imports Kopf: each handler enqueues a key."""
