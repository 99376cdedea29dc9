"""Panels: each draws lines from a view and sends only the lines that changed."""
