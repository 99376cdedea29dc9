"""What limits a training, and what another profile would do."""
