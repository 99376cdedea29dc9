"""What the journals add up to: state, pace, memory, and the sentences about them."""
