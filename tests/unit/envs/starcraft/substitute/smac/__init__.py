"""A substitute for SMAC, for tests on machines that do not have it."""
