"""Evidence to verdicts, purely: the same evidence always gives the same results. Runs nothing, renders nothing."""
