"""One builder per child kind and one adapter per engine: a user's spec in, plain manifests or a refusal out.

`revision.asked_revision` is the entry; `children` builds what the planner applies.
"""
