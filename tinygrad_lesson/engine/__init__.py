"""What an op is, the graph of ops, and the sweep that differentiates it.

To be read in this order, in which each file needs only those before it:

1. ``errors``, ``shapes``, ``dtypes``: what the others speak of.
2. ``op``: what is declared once; ``namespace``: every op as a function, which is what rules are written in.
3. ``declare``: a class becomes an op. ``constant`` is the first, ``kinds`` what many have in common.
4. ``graph``: nodes and edges; ``world``: what they stand for.
5. ``interpret``, the walk forward, and ``backprop``, the sweep back.
6. What follows: ``composite`` (ops written in others), ``tangents`` (forward mode), ``infer`` (shapes and types).
7. For those who declare ops: ``draw`` (samples to test with), ``blocks`` (large arrays in parts).
"""
