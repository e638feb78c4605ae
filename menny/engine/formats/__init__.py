"""Formats of files: containers of tensors, checked before anything is read from them."""
