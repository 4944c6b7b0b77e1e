"""labrun: is what I believe about this network true? Labs that are run, kept as evidence, and judged."""

__version__ = "0.1.0"
