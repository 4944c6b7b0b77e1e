"""Facts from evidence, each with its place there and with why it may not be whole. Judge and report both use these."""
