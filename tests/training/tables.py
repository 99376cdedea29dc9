"""Parts of experiment files that are quick to train, each ending where its last table may go on."""

from __future__ import annotations

# Volumes written on first use, coarse; [prepare] may go on.
PHANTOMS = """
[data]
source = "phantom"
subjects = 6
shape = [24, 24, 24]
[prepare]
spacing_mm = 8.0
"""
# Whole volumes and the smallest MeshNet that learns.
WHOLE_PHANTOMS = PHANTOMS + """
shape = [20, 24, 20]
[model]
channels = 3
dropout = 0.1
[optimizer]
lr = 0.01
"""
# Two patches of each volume; [patch] may go on.
PATCHES = """
[prepare]
shape = [0, 0, 0]
[patch]
shape = [8, 8, 8]
per_volume = 2
"""
# A network of one class for them; [loss] may go on.
RESIDUAL_UNET = """
[model]
name = "residual_unet"
channels = 2
multipliers = [1, 2]
blocks = 1
classes = 1
[loss]
class_weights = [1.0]
"""
# Sequences from a file; [model] may go on.
DENOISER = """
[data]
source = "sequences"
[model]
name = "denoiser"
channels = 16
layers = 1
heads = 2
diffusion_steps = 5
"""
