"""The parts of `benchmarks.relay` and `benchmarks.deploy`: a host of models, readers, and what is between them."""
