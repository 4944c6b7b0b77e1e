"""Where a plan runs. An engine takes a plan and gives back what the agent says; it judges and keeps nothing."""
