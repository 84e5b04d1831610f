"""Layers that are classes of the user's, as Caffe's Python layers: found, set up, and called in a run."""
