"""The training subprocess: volumes, preparation, folds, models, the loop. torch, numpy and nibabel live only here."""
