"""Data sets: the databases and files that Caffe's data layers read and its tools write."""
