"""The training subprocess: volumes, preparation, folds, models, the loop. torch, numpy, scipy and nibabel live only here."""
