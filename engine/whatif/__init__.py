"""What it would take otherwise: other counts, other hardware, sessions, stages."""
