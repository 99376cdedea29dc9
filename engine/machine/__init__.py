"""The machine: processes, cores, GPUs, disks, and who else uses them."""
