"""A run to pages: run directory and results -> one view -> HTML, Markdown, JUnit. Renders verdicts, makes none."""
