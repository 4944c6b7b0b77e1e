"""The lab image: its recipe, its builders, and its presence in an engine."""
