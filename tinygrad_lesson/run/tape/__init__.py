"""Kernels: functions in machine code, each made by a few lines of a small vector language, called by address."""
