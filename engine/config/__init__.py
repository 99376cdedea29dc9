"""What to train and how: experiments, profiles, knobs."""
