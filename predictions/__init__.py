"""Ask a provider for a prediction and see it through; knows nothing of conversations or HTML."""
