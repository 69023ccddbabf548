"""Evaluation: metrics, arms compared on the same items, and the claims of a source answered from a finished run.

``scoring`` compares arms, ``metrics`` and ``bootstrap`` compute (they alone import heavy things), ``claims`` answers the claims
and checks of a recipe, ``names`` lists the metrics. Importing this package imports none of them.
"""
