"""Pure functions of tensors, each with the equation it implements."""
