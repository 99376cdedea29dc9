"""When it ends: counted, costed, with a range that holds."""
