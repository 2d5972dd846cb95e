"""Architecture search: one network trained so that its parts work too, and the part a device wants."""
