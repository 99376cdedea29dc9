"""What a profile takes of RAM, /dev/shm and VRAM."""
