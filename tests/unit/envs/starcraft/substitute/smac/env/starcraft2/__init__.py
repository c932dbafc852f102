"""As in SMAC: the class has a package of its own."""
