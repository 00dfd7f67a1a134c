"""What the commands in bin/ are made of: Python's standard library alone, for nothing is installed yet."""
