"""API version v1alpha1 of group understudy.dev: one module per kind."""
