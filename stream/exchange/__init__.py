"""Events as others write and read them, and against their truth."""
