"""Is a lab right? Everything that `labrun check` finds before anything runs."""
