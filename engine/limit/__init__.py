"""Limits that act, and who is told of what happened."""
