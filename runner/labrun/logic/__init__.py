"""Three-valued logic, and what compares with what. Knows nothing of networks."""
