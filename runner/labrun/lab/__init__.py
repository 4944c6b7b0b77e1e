"""The lab language: models, loading with places for every error, compiling to plans. Starts nothing."""
