"""When single weights leave, a file each."""
