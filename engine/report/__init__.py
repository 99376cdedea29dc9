"""What was measured, written down: a report of sections whose every number carries its basis."""
