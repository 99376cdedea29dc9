"""One file a section; each is a function of the facts."""
