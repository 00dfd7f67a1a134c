"""What Parley costs and how quick it is: `python -m benchmarks.<name>`, each says what it measures."""
