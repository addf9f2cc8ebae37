"""Formats of others: arrays as safetensors, and what a file of any format holds."""

from __future__ import annotations
