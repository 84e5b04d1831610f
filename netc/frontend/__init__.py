"""Reads Caffe's files, and translates nets into the tensor IR."""
