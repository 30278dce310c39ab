"""Where players stand, by what the log tells of them, and who is told of it: rules in guard/engagement, applied."""
