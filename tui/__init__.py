"""The screen and the command line; know no torch, no NVML, and no file names but through `engine`."""
