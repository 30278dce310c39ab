"""Learns small heads of our own, and measures what they find: docs/benchmarks/detectors.md."""
