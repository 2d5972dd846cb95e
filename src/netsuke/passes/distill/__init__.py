"""A student learns from its teachers: a file a method."""
