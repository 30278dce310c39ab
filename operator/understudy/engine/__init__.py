"""The thin shell around the planner: queue, cache, leader, executor, polls."""
