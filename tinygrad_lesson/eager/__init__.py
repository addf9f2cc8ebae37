"""The eager face: tensors, derivatives of functions, `jit`."""
