"""What is written while a training runs, and read again."""
