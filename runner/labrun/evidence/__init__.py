"""The run directory: written once while a run goes on, read by whoever judges or reports. Judges nothing."""
