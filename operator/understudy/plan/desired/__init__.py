"""One builder per child kind and one adapter per engine; all pure."""
