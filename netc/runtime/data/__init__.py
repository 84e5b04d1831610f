"""Where training data come from: databases, image lists, HDF5 files, windows; decoded ahead in threads."""
