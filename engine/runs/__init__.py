"""How runs are started, followed, obeyed and ended."""
