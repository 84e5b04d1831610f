"""ONNX files: the ops of a net as nodes of another program's graph."""
