"""`kubectl understudy`: rollouts seen, forecast and steered from a terminal."""
