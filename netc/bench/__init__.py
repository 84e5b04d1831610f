"""Benchmarks of netc against the engines that a user could pick instead.

Engines run in processes of their own, under an interpreter that may lack netc's dependencies: ``worker``,
``engines`` and what they import need the standard library, NumPy and the engine.
"""
