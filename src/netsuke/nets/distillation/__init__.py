"""How a student imitates its teachers: a file a method."""
