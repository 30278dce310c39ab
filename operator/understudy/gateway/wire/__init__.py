"""Protocol classes: HTTP/1.1 in and out, streams, timeouts."""
