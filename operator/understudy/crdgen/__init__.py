"""Development time: pydantic models to CRDs, reference docs, RBAC."""
