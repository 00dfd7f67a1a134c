"""The parts of `benchmarks.page`: long answers, large libraries, and a Chromium that measures."""
