"""Detectors that somebody serves: what they are asked about a window, and what their answers say. No sockets."""
