"""The ``.net`` language: Caffe's layers and fields with functions, loops and arithmetic. See docs/dsl.md."""
